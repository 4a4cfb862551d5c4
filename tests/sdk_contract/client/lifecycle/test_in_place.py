"""In-place updates: no second copy, and results that match a regular update."""

import contextlib
import json
from dataclasses import replace

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.host.hot_swap import HotSwap
from sdk_contract.documents import FileDigest, PatchDescriptor
from tests.sdk_contract.client.conftest import content, fine_tuned, weights
from tests.sdk_contract.client.documents import sha256_hex
from tests.sdk_contract.client.faulty_disk import FaultyDisk, PowerCut
from tests.sdk_contract.client.lifecycle.low_storage import (
    NEW,
    OLD,
    RANGE,
    ReadingRuntime,
    device_copies,
    low_storage_settings,
)


@pytest.fixture
def tmp_path(memory_path):
    return memory_path


@pytest.fixture
def device(server, enroll, tmp_path):
    return device_copies(server, enroll, tmp_path)


def test_a_component_is_patched_inside_its_own_file(server, device):
    directory = device(0)
    inode = (directory / "objects" / sha256_hex(OLD["backbone"])).stat().st_ino
    result = Agent(directory, low_storage_settings()).update(ReadingRuntime())
    assert (result.status, result.version) == ("updated", "v2")
    assert content(Agent(directory, low_storage_settings())) == NEW
    assert (directory / "objects" / sha256_hex(NEW["backbone"])).stat().st_ino == inode
    assert Agent(directory, low_storage_settings()).status()["previous"] is None
    assert list((directory / "in_place").iterdir()) == []


def test_it_needs_space_for_the_patch_and_not_for_a_second_copy(server, device, tmp_path):
    server.publish("v2", 2, {"backbone": NEW["backbone"], "tokenizer": OLD["tokenizer"]})
    needed = int(1.1 * 3 * len(server.patch(OLD["backbone"], NEW["backbone"]))) + 2 * RANGE + (1 << 20)
    tight = FaultyDisk(tmp_path / "tight", free=needed - 1)
    result = Agent(device(0), low_storage_settings(tight)).update()
    assert (result.code, result.bytes_downloaded) == ("no_space", 0)
    enough = FaultyDisk(tmp_path / "enough", free=needed)
    assert Agent(device(1), low_storage_settings(enough)).update().status == "updated"
    for disk in (tight, enough):
        disk.power_off(lose=False)


def test_a_version_that_fails_its_trial_is_reverted_in_place(device):
    directory = device(0)
    result = Agent(directory, low_storage_settings()).update(ReadingRuntime(fail=True))
    assert (result.status, result.code, result.version) == ("rolled_back", "smoke_failed", "v1")
    assert content(Agent(directory, low_storage_settings())) == OLD


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: b"inserted" * 999 + data, id="grown at the front"),
        pytest.param(lambda data: data[30_001:], id="cut at the front"),
        pytest.param(lambda data: data + bytes(50_000), id="grown at the end"),
        pytest.param(lambda data: data[:70_000], id="cut at the end"),
        pytest.param(lambda data: data[100_000:] + data[:100_000], id="halves exchanged"),
    ],
)
@pytest.mark.parametrize("fail", [False, True])
def test_files_with_moved_content_and_another_size_are_updated_and_reverted(server, enroll, change, fail):
    old = weights(1, 200_000)
    new = change(old)
    server.publish("v1", 1, {"backbone": old})
    server.publish("v2", 2, {"backbone": new})
    server.patch(old, new)
    agent = enroll("v1", settings=low_storage_settings())
    server.target = "v2"

    class VerifyingRuntime(ReadingRuntime):
        def smoke_test(self, loaded):
            assert loaded["backbone"] == new
            if fail:
                raise ValueError("no")
            return {}

    result = agent.update(VerifyingRuntime())
    assert result.status == ("rolled_back" if fail else "updated")
    assert result.download_format == "glp1"
    assert content(agent)["backbone"] == (old if fail else new)


def tensors(*named):
    """A safetensors file with the tensors in the given order."""
    header, end = {}, 0
    for name, data in named:
        header[name] = {"dtype": "I8", "shape": [len(data)], "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, data in named)


@pytest.mark.parametrize("cut", [0, 130])
def test_moved_tensors_are_read_from_the_log_after_they_were_overwritten(server, enroll, tmp_path, cut):
    first, second, third = weights(1, 150_000), weights(2, 90_000), weights(3, 120_000)
    old = tensors(("a", first), ("b", second), ("c", third))
    new = tensors(("c", fine_tuned(third)), ("b", second), ("a", fine_tuned(first)))
    server.publish("v1", 1, {"backbone": old})
    server.publish("v2", 2, {"backbone": new})
    server.patch(old, new)
    agent = enroll("v1", settings=low_storage_settings())
    server.target = "v2"
    disk = FaultyDisk(tmp_path / "trash", at=cut)
    with contextlib.suppress(PowerCut):
        Agent(agent._store.directory, low_storage_settings(disk)).update()
    disk.power_off()
    assert agent.status()["state"] == ("applying" if cut else "idle")
    assert agent.update().status == ("updated" if cut else "up_to_date")
    assert content(agent)["backbone"] == new


def test_an_app_that_starts_during_an_update_gets_a_complete_version_and_its_starts_count(device, tmp_path):
    directory = device("start")
    disk = FaultyDisk(tmp_path / "trash", at=110)
    with contextlib.suppress(PowerCut):
        Agent(directory, low_storage_settings(disk)).update()
    disk.power_off()
    agent = Agent(directory, low_storage_settings())
    assert agent.status()["state"] == "applying"
    starts = [agent.begin_start() for _ in range(4)]
    assert [start and start.version for start in starts] == ["v2", "v2", "v1", "v1"]
    assert content(agent) == OLD
    assert list(agent.status()["blocklist"].values()) == ["crash_loop"]


def test_a_confirmed_start_after_an_in_place_update_is_committed_by_the_next_run(device, tmp_path):
    directory = device("start")
    disk = FaultyDisk(tmp_path / "trash", at=110)
    with contextlib.suppress(PowerCut):
        Agent(directory, low_storage_settings(disk)).update()
    disk.power_off()
    agent = Agent(directory, low_storage_settings())
    for _ in range(5):
        start = agent.begin_start()
        assert start is not None
        assert start.version == "v2"
        agent.confirm_start()
    assert agent.update(ReadingRuntime()).status == "updated"


def test_a_signed_patch_that_does_not_fit_is_reverted_and_the_full_file_is_downloaded(server, device):
    patch = bytearray(server.patch(OLD["backbone"], NEW["backbone"]))
    patch[len(patch) // 2] ^= 1
    key = sha256_hex(OLD["backbone"]), sha256_hex(NEW["backbone"])
    good = PatchDescriptor.from_envelope(
        server.descriptors[key], server.trust_bundle(1, server.keys).for_role("patcher")
    )
    broken = replace(good, patch=FileDigest(sha256=sha256_hex(patch), size=len(patch)))
    server.objects[sha256_hex(patch)] = bytes(patch)
    server.descriptors[key] = broken.sign([server.keys["patcher"]])
    directory = device("broken")
    result = Agent(directory, low_storage_settings()).update(ReadingRuntime())
    assert (result.status, result.code, result.version) == ("rolled_back", "patch_corrupt", "v1")
    assert content(Agent(directory, low_storage_settings())) == OLD
    server.attempt = "attempt-2"
    result = Agent(directory, low_storage_settings()).update(ReadingRuntime())
    assert (result.status, result.download_format) == ("updated", "full")
    assert content(Agent(directory, low_storage_settings())) == NEW


def test_files_in_use_are_not_changed_in_place(device):
    class Bytes(ReadingRuntime):
        def load(self, installed):
            return installed.components["backbone"].read_bytes()

        def smoke_test(self, loaded):
            return {}

        def close(self, loaded):
            """Do nothing."""

    agent = Agent(device("busy"), low_storage_settings())
    swap = HotSwap(Bytes(), drain_timeout_s=0.05)
    swap.start(agent.begin_start())
    with swap.acquire():
        result = agent.update(activator=swap)
    assert (result.status, result.code) == ("waiting", "in_use")
    with swap.acquire() as lease:
        assert lease.model == OLD["backbone"]
    assert agent.update(activator=swap).status == "updated"
    with swap.acquire() as lease:
        assert lease.model == NEW["backbone"]
    swap.close()


def test_a_corrupt_source_is_not_patched_and_the_full_file_is_downloaded(server, device):
    directory = device(0)
    (directory / "objects" / sha256_hex(OLD["backbone"])).write_bytes(b"rot" + OLD["backbone"][3:])
    result = Agent(directory, low_storage_settings()).update(ReadingRuntime())
    assert (result.status, result.download_format) == ("updated", "full")
    assert content(Agent(directory, low_storage_settings())) == NEW
