"""In-place updates in the tests: settings, files, and checks."""

import shutil

from sdk_contract.client import Agent, AgentSettings
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.lifecycle.activation import TrialPolicy
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.transfer.range_download import DownloadLimits
from tests.sdk_contract.client.conftest import content, fine_tuned, weights

RANGE = 16 * 1024
OLD = {"backbone": weights(1, 150_000), "tokenizer": b"words " * 50}
NEW = {"backbone": fine_tuned(OLD["backbone"]), "tokenizer": b"other words " * 50}
LIMITS = DownloadLimits(
    timeout_s=5, max_tries=3, retry_delay_s=0.0, max_retry_delay_s=0.0, in_place_range_bytes=RANGE
)


def low_storage_settings(files=None, max_failed_starts=2):
    trial = TrialPolicy(max_failed_starts=max_failed_starts)
    return AgentSettings(
        files or LocalFileSystem(), StaticHost(), LIMITS, lambda _: None, trial, low_storage=True
    )


class ReadingRuntime:
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


def device_copies(server, enroll, tmp_path):
    """Return a function that copies a device, which runs v1 and is offered v2."""
    server.publish("v1", 1, OLD)
    server.publish("v2", 2, NEW)
    server.patch(OLD["backbone"], NEW["backbone"])
    enroll("v1", name="original", settings=low_storage_settings())
    server.target = "v2"

    def copy(number):
        directory = tmp_path / f"copy-{number}"
        shutil.copytree(tmp_path / "original", directory, symlinks=True)
        return directory

    return copy


def assert_complete_version(directory):
    found = content(Agent(directory, low_storage_settings()))
    assert found in (OLD, NEW), "neither version is assert_complete_version"


def finish_update(directory, runtime=None, expected=NEW, max_failed_starts=2):
    for _ in range(4):
        result = Agent(directory, low_storage_settings(max_failed_starts=max_failed_starts)).update(
            runtime or ReadingRuntime()
        )
        if result.status in ("updated", "up_to_date") or result.code == "version_blocked":
            break
    assert content(Agent(directory, low_storage_settings())) == expected, result
    Agent(directory, low_storage_settings()).update(ReadingRuntime(fail=expected is OLD))
    assert list((directory / "in_place").iterdir()) == []
    assert list((directory / "partial").iterdir()) == []
