"""A file updated inside itself: no second copy, and still a whole version after every power cut."""

import contextlib
import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest

from sdk_contract.client import Agent, AgentSettings
from sdk_contract.client.errors import StorageFailed
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.host.hot_swap import HotSwap
from sdk_contract.client.lifecycle.activation import TrialPolicy
from sdk_contract.client.storage import undo_log
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.transfer.range_download import DownloadLimits
from sdk_contract.documents import FileDigest, PatchDescriptor
from tests.sdk_contract.client.conftest import LONG, content, tuned, weights
from tests.sdk_contract.client.faulty_disk import BROKEN, FULL, Disk, PowerCut
from tests.sdk_contract.client.simulator import sha

RANGE = 16 * 1024
OLD = {"backbone": weights(1, 150_000), "tokenizer": b"words " * 50}
NEW = {"backbone": tuned(OLD["backbone"]), "tokenizer": b"other words " * 50}
PATIENCE = DownloadLimits(
    timeout_s=5, max_tries=3, retry_delay_s=0.0, max_retry_delay_s=0.0, in_place_range_bytes=RANGE
)


def frugal(files=None, strikes=2):
    trial = TrialPolicy(max_failed_starts=strikes)
    return AgentSettings(
        files or LocalFileSystem(), StaticHost(), PATIENCE, lambda _: None, trial, low_storage=True
    )


class Reads:
    def __init__(self, fail=False):
        self.fail = fail

    def load(self, installed):
        return {name: path.read_bytes() for name, path in installed.components.items()}

    def smoke_test(self, loaded):
        assert loaded in (OLD, NEW), "a mixed set"
        if self.fail:
            raise ValueError("worse than before")
        return {}

    def close(self, loaded):
        loaded.clear()


@pytest.fixture
def tmp_path(memory_path):
    return memory_path


@pytest.fixture
def device(server, enroll, tmp_path):
    """Makes copies of a device that runs v1 and is offered v2."""
    server.publish("v1", 1, OLD)
    server.publish("v2", 2, NEW)
    server.patch(OLD["backbone"], NEW["backbone"])
    enroll("v1", name="original", settings=frugal())
    server.target = "v2"

    def copy(number):
        directory = tmp_path / f"copy-{number}"
        shutil.copytree(tmp_path / "original", directory, symlinks=True)
        return directory

    return copy


def whole(directory):
    found = content(Agent(directory, frugal()))
    assert found in (OLD, NEW), "neither version is whole"


def converge(directory, runtime=None, expected=NEW, strikes=2):
    for _ in range(4):
        outcome = Agent(directory, frugal(strikes=strikes)).update(runtime or Reads())
        if outcome.status in ("updated", "up_to_date") or outcome.code == "version_blocked":
            break
    assert content(Agent(directory, frugal())) == expected, outcome
    Agent(directory, frugal()).update(Reads(fail=expected is OLD))
    assert list((directory / "in_place").iterdir()) == []
    assert list((directory / "partial").iterdir()) == []


def test_a_component_is_patched_inside_its_own_file(server, device):
    directory = device(0)
    inode = (directory / "objects" / sha(OLD["backbone"])).stat().st_ino
    outcome = Agent(directory, frugal()).update(Reads())
    assert (outcome.status, outcome.version) == ("updated", "v2")
    assert content(Agent(directory, frugal())) == NEW
    assert (directory / "objects" / sha(NEW["backbone"])).stat().st_ino == inode
    assert Agent(directory, frugal()).status()["previous"] is None
    assert list((directory / "in_place").iterdir()) == []


def test_it_needs_space_for_the_patch_and_not_for_a_second_copy(server, device, tmp_path):
    server.publish("v2", 2, {"backbone": NEW["backbone"], "tokenizer": OLD["tokenizer"]})
    needed = int(1.1 * 3 * len(server.patch(OLD["backbone"], NEW["backbone"]))) + 2 * RANGE + (1 << 20)
    tight = Disk(tmp_path / "tight", free=needed - 1)
    outcome = Agent(device(0), frugal(tight)).update()
    assert (outcome.code, outcome.bytes_downloaded) == ("no_space", 0)
    enough = Disk(tmp_path / "enough", free=needed)
    assert Agent(device(1), frugal(enough)).update().status == "updated"
    for disk in (tight, enough):
        disk.power_off(lose=False)


def test_a_version_that_fails_its_trial_is_reverted_in_place(device):
    directory = device(0)
    outcome = Agent(directory, frugal()).update(Reads(fail=True))
    assert (outcome.status, outcome.code, outcome.version) == ("rolled_back", "smoke_failed", "v1")
    assert content(Agent(directory, frugal())) == OLD


@pytest.mark.parametrize(
    ("lost", "fail"),
    [("everything unsynced", False), ("content becomes zeros", True), ("only the process", False)],
)
def test_after_a_power_cut_at_any_operation_a_complete_version_can_be_restored(device, tmp_path, lost, fail):
    first = Disk(tmp_path / "trash-0")
    Agent(device("count"), frugal(first)).update(Reads(fail))
    first.power_off(lose=False)
    assert first.count >= 120
    for at in range(1, first.count + 1, 1 if LONG else 3 if lost == "everything unsynced" else 7):
        directory = device(f"{lost[:4]}-{at}")
        disk = Disk(tmp_path / f"trash-{at}", at=at, zeros="zeros" in lost)
        with contextlib.suppress(PowerCut):
            Agent(directory, frugal(disk)).update(Reads(fail))
            assert disk.count < at
        disk.power_off(lose=lost != "only the process")
        whole(directory)
        converge(directory, Reads(fail), OLD if fail else NEW)
        shutil.rmtree(directory)


@pytest.mark.parametrize("error", [FULL, BROKEN])
def test_one_failed_disk_operation_costs_at_most_a_retry(device, tmp_path, error):
    first = Disk(tmp_path / "trash-0", error=error)
    Agent(device("count"), frugal(first)).update(Reads())
    first.power_off(lose=False)
    for at in range(1 if error == FULL else 2, first.count + 1, 1 if LONG else 7):
        directory = device(f"{error}-{at}")
        disk = Disk(tmp_path / f"trash-{at}", at=at, error=error)
        Agent(directory, frugal(disk)).update(Reads())
        disk.power_off(lose=False)
        whole(directory)
        converge(directory)
        shutil.rmtree(directory)


def test_power_cuts_during_the_recovery_are_survived(device, tmp_path):
    dice = random.Random(5)
    for number in range(150 if LONG else 15):
        directory = device(f"twice-{number}")
        for cut in range(3):
            disk = Disk(tmp_path / f"trash-{number}-{cut}", at=dice.randint(1, 120), zeros=bool(number % 2))
            with contextlib.suppress(PowerCut):
                Agent(directory, frugal(disk, strikes=9)).update(Reads())
            disk.power_off()
        whole(directory)
        converge(directory, strikes=9)
        shutil.rmtree(directory)


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
    agent = enroll("v1", settings=frugal())
    server.target = "v2"

    class Judge(Reads):
        def smoke_test(self, loaded):
            assert loaded["backbone"] == new
            if fail:
                raise ValueError("no")
            return {}

    outcome = agent.update(Judge())
    assert outcome.status == ("rolled_back" if fail else "updated")
    assert outcome.download_format == "glp1"
    assert content(agent)["backbone"] == (old if fail else new)


def tensors(*named):
    """A safetensors file with the tensors in that order."""
    header, end = {}, 0
    for name, data in named:
        header[name] = {"dtype": "I8", "shape": [len(data)], "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, data in named)


@pytest.mark.parametrize("cut", [0, 130])
def test_moved_tensors_are_read_from_the_log_after_they_were_overwritten(
    server, enroll, tmp_path, cut
):
    first, second, third = weights(1, 150_000), weights(2, 90_000), weights(3, 120_000)
    old = tensors(("a", first), ("b", second), ("c", third))
    new = tensors(("c", tuned(third)), ("b", second), ("a", tuned(first)))
    server.publish("v1", 1, {"backbone": old})
    server.publish("v2", 2, {"backbone": new})
    server.patch(old, new)
    agent = enroll("v1", settings=frugal())
    server.target = "v2"
    disk = Disk(tmp_path / "trash", at=cut)
    with contextlib.suppress(PowerCut):
        Agent(agent._store.directory, frugal(disk)).update()
    disk.power_off()
    assert agent.status()["state"] == ("applying" if cut else "idle")
    assert agent.update().status == ("updated" if cut else "up_to_date")
    assert content(agent)["backbone"] == new


def test_an_app_that_starts_during_an_update_gets_a_complete_version_and_its_starts_count(device, tmp_path):
    directory = device("start")
    disk = Disk(tmp_path / "trash", at=110)
    with contextlib.suppress(PowerCut):
        Agent(directory, frugal(disk)).update()
    disk.power_off()
    agent = Agent(directory, frugal())
    assert agent.status()["state"] == "applying"
    assert [agent.begin_start().version for _ in range(4)] == ["v2", "v2", "v1", "v1"]
    assert content(agent) == OLD
    assert list(agent.status()["blocklist"].values()) == ["crash_loop"]


def test_a_confirmed_start_after_an_in_place_update_is_committed_by_the_next_run(device, tmp_path):
    directory = device("start")
    disk = Disk(tmp_path / "trash", at=110)
    with contextlib.suppress(PowerCut):
        Agent(directory, frugal(disk)).update()
    disk.power_off()
    agent = Agent(directory, frugal())
    for _ in range(5):
        assert agent.begin_start().version == "v2"
        agent.confirm_start()
    assert agent.update(Reads()).status == "updated"


def test_a_full_disk_during_the_update_rolls_back_without_blocking_the_version(device, tmp_path):
    directory = device("full")
    disk = Disk(tmp_path / "trash", at=110, error=FULL)
    outcome = Agent(directory, frugal(disk)).update(Reads())
    disk.power_off(lose=False)
    assert (outcome.status, outcome.code, outcome.version) == ("rolled_back", "no_space", "v1")
    agent = Agent(directory, frugal())
    assert (content(agent), agent.status()["blocklist"]) == (OLD, {})
    assert agent.update(Reads()).status == "updated"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
def test_a_disk_filled_by_other_processes_never_leaves_the_device_without_a_version(
    device, tmp_path, share
):
    directory = device("crowded")
    used = sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())
    room = int(share * 60_000)
    disk = Disk(tmp_path / "trash", home=directory, capacity=used + room)
    outcome = Agent(directory, frugal(disk)).update(Reads())
    assert outcome.status in {"updated", "rolled_back", "waiting"}
    assert content(Agent(directory, frugal(disk))) in (OLD, NEW)
    disk.power_off(lose=False)
    converge(directory)


def test_a_signed_patch_that_does_not_fit_is_reverted_and_the_full_file_is_downloaded(server, device):
    patch = bytearray(server.patch(OLD["backbone"], NEW["backbone"]))
    patch[len(patch) // 2] ^= 1
    key = sha(OLD["backbone"]), sha(NEW["backbone"])
    good = PatchDescriptor.from_envelope(
        server.descriptors[key], server.trust_bundle(1, server.keys).for_role("patcher")
    )
    broken = replace(good, patch=FileDigest(sha256=sha(patch), size=len(patch)))
    server.objects[sha(patch)] = bytes(patch)
    server.descriptors[key] = broken.sign([server.keys["patcher"]])
    directory = device("broken")
    outcome = Agent(directory, frugal()).update(Reads())
    assert (outcome.status, outcome.code, outcome.version) == ("rolled_back", "patch_corrupt", "v1")
    assert content(Agent(directory, frugal())) == OLD
    server.attempt = "attempt-2"
    outcome = Agent(directory, frugal()).update(Reads())
    assert (outcome.status, outcome.download_format) == ("updated", "full")
    assert content(Agent(directory, frugal())) == NEW


def test_files_in_use_are_not_changed_in_place(device):
    class Bytes(Reads):
        def load(self, installed):
            return installed.components["backbone"].read_bytes()

        def smoke_test(self, loaded):
            return {}

        def close(self, loaded):
            """Nothing is held."""

    agent = Agent(device("busy"), frugal())
    swap = HotSwap(Bytes(), drain_timeout_s=0.05)
    swap.start(agent.begin_start())
    with swap.acquire():
        outcome = agent.update(activator=swap)
    assert (outcome.status, outcome.code) == ("waiting", "in_use")
    with swap.acquire() as lease:
        assert lease.model == OLD["backbone"]
    assert agent.update(activator=swap).status == "updated"
    with swap.acquire() as lease:
        assert lease.model == NEW["backbone"]
    swap.close()


def test_a_corrupt_source_is_not_patched_and_the_full_file_is_downloaded(server, device):
    directory = device(0)
    (directory / "objects" / sha(OLD["backbone"])).write_bytes(b"rot" + OLD["backbone"][3:])
    outcome = Agent(directory, frugal()).update(Reads())
    assert (outcome.status, outcome.download_format) == ("updated", "full")
    assert content(Agent(directory, frugal())) == NEW


def test_a_corrupt_undo_log_is_detected(tmp_path):
    log = undo_log.UndoLog(LocalFileSystem(), tmp_path / "x.log")
    dice = np.random.default_rng(1)
    old, new = dice.bytes(1000), dice.bytes(1000)
    log.append(0, old, new, sync=True)
    assert log.old_bytes(log.entries[0], new) == old
    with pytest.raises(StorageFailed):
        log.old_bytes(log.entries[0], new[:-1] + b"?")
    log.close()
