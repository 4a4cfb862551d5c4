"""A process that runs updates in child processes, so that a test can kill them at any moment.

It reads lines `DIRECTORY LOW_STORAGE SECONDS`, runs an update, kills it after that time (0: never), and prints its exit
status. With the arguments `DIRECTORY LOW_STORAGE` it runs one update instead, and prints its status, format, duration in
seconds, and the memory before and at its peak in KiB.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from sdk_contract.client import Agent, AgentSettings
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.lifecycle.activation import TrialPolicy
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.transfer.range_download import DownloadLimits


def update(directory, low_storage, limits):
    settings = AgentSettings(
        LocalFileSystem(), StaticHost(), limits, lambda _: None, TrialPolicy(), low_storage=low_storage
    )
    return Agent(Path(directory), settings).update()


def serve():
    limits = DownloadLimits(
        timeout_s=20, max_tries=3, retry_delay_s=0.0, checkpoint_bytes=30_000, in_place_range_bytes=16_384
    )
    for line in sys.stdin:
        directory, low_storage, delay = line.split()
        child = os.fork()
        if child == 0:
            result = update(directory, low_storage == "1", limits)
            os._exit(0 if result.status in ("updated", "up_to_date") else 1)
        if float(delay):
            # The test chooses the moment of the kill.
            time.sleep(float(delay))
            os.kill(child, signal.SIGKILL)  # the child was not waited for, so its process id is still valid
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def memory(field):
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0])


def measure(directory, low_storage):
    before, began = memory("VmRSS"), time.monotonic()
    result = update(directory, low_storage == "1", DownloadLimits())
    took = time.monotonic() - began
    sys.stdout.write(json.dumps([result.status, result.download_format, took, before, memory("VmHWM")]))


if __name__ == "__main__":
    measure(*sys.argv[1:]) if sys.argv[1:] else serve()
