"""Power cuts and disk errors during in-place updates: a complete version can always be restored."""

import contextlib
import random
import shutil

import pytest

from sdk_contract.client import Agent
from tests.sdk_contract.client.conftest import TORTURE, content
from tests.sdk_contract.client.faulty_disk import IO_ERROR, NO_SPACE, FaultyDisk, PowerCut
from tests.sdk_contract.client.lifecycle.low_storage import (
    NEW,
    OLD,
    ReadingRuntime,
    assert_complete_version,
    device_copies,
    finish_update,
    low_storage_settings,
)


@pytest.fixture
def tmp_path(memory_path):
    return memory_path


@pytest.fixture
def device(server, enroll, tmp_path):
    return device_copies(server, enroll, tmp_path)


@pytest.mark.parametrize(
    ("loss", "fail"),
    [("everything unsynced", False), ("content becomes zeros", True), ("only the process", False)],
)
def test_after_a_power_cut_at_any_operation_a_complete_version_can_be_restored(device, tmp_path, loss, fail):
    first = FaultyDisk(tmp_path / "trash-0")
    Agent(device("count"), low_storage_settings(first)).update(ReadingRuntime(fail))
    first.power_off(lose=False)
    assert first.count >= 120
    for at in range(1, first.count + 1, 1 if TORTURE else 3 if loss == "everything unsynced" else 7):
        directory = device(f"{loss[:4]}-{at}")
        disk = FaultyDisk(tmp_path / f"trash-{at}", at=at, zeros="zeros" in loss)
        with contextlib.suppress(PowerCut):
            Agent(directory, low_storage_settings(disk)).update(ReadingRuntime(fail))
            assert disk.count < at
        disk.power_off(lose=loss != "only the process")
        assert_complete_version(directory)
        finish_update(directory, ReadingRuntime(fail), OLD if fail else NEW)
        shutil.rmtree(directory)


@pytest.mark.parametrize("error", [NO_SPACE, IO_ERROR])
def test_one_failed_disk_operation_costs_at_most_a_retry(device, tmp_path, error):
    first = FaultyDisk(tmp_path / "trash-0", error=error)
    Agent(device("count"), low_storage_settings(first)).update(ReadingRuntime())
    first.power_off(lose=False)
    for at in range(1 if error == NO_SPACE else 2, first.count + 1, 1 if TORTURE else 7):
        directory = device(f"{error}-{at}")
        disk = FaultyDisk(tmp_path / f"trash-{at}", at=at, error=error)
        Agent(directory, low_storage_settings(disk)).update(ReadingRuntime())
        disk.power_off(lose=False)
        assert_complete_version(directory)
        finish_update(directory)
        shutil.rmtree(directory)


def test_power_cuts_during_the_recovery_are_survived(device, tmp_path):
    rng = random.Random(5)
    for number in range(150 if TORTURE else 15):
        directory = device(f"twice-{number}")
        for cut in range(3):
            disk = FaultyDisk(
                tmp_path / f"trash-{number}-{cut}", at=rng.randint(1, 120), zeros=bool(number % 2)
            )
            with contextlib.suppress(PowerCut):
                Agent(directory, low_storage_settings(disk, max_failed_starts=9)).update(ReadingRuntime())
            disk.power_off()
        assert_complete_version(directory)
        finish_update(directory, max_failed_starts=9)
        shutil.rmtree(directory)


def test_a_full_disk_during_the_update_rolls_back_without_blocking_the_version(device, tmp_path):
    directory = device("full")
    disk = FaultyDisk(tmp_path / "trash", at=110, error=NO_SPACE)
    result = Agent(directory, low_storage_settings(disk)).update(ReadingRuntime())
    disk.power_off(lose=False)
    assert (result.status, result.code, result.version) == ("rolled_back", "no_space", "v1")
    agent = Agent(directory, low_storage_settings())
    assert (content(agent), agent.status()["blocklist"]) == (OLD, {})
    assert agent.update(ReadingRuntime()).status == "updated"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
def test_a_disk_filled_by_other_processes_never_leaves_the_device_without_a_version(device, tmp_path, share):
    directory = device("crowded")
    used = sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())
    room = int(share * 60_000)
    disk = FaultyDisk(tmp_path / "trash", home=directory, capacity=used + room)
    result = Agent(directory, low_storage_settings(disk)).update(ReadingRuntime())
    assert result.status in {"updated", "rolled_back", "waiting"}
    assert content(Agent(directory, low_storage_settings(disk))) in (OLD, NEW)
    disk.power_off(lose=False)
    finish_update(directory)
