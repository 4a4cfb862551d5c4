"""Runs the commands as users do, in separate processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.cli.admin_api import AdminApi
from tests.waiting import PATIENCE_S

BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def _real_servers(endpoints):
    """Mark all journeys as tests that need servers; they start their own."""


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """Start commands as a terminal does: a script starts its background jobs with SIGINT ignored, which is inherited."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@dataclass
class Up:
    """A running `graylag up`."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]
    directory: Path

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this service's URL and admin token, to its end."""
        credentials = {"GRAYLAG_URL": self.facts["api_url"], "GRAYLAG_TOKEN": self.facts["admin_token"]}
        try:
            return run(*command, **(credentials | environment))
        except subprocess.TimeoutExpired as error:
            logs = {log.name: log.read_text()[-2000:] for log in (self.directory / "logs").glob("*.log")}
            raise AssertionError(f"{error}\n{json.dumps(logs, indent=1)}") from error

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a command with this service's URL and admin token."""
        credentials = {"GRAYLAG_URL": self.facts["api_url"], "GRAYLAG_TOKEN": self.facts["admin_token"]}
        return subprocess.Popen(
            [BIN / command[0], *command[1:]], env={**os.environ, **credentials}, text=True
        )

    def enroll_device(self, directory: Path, device_id: str, *options: str) -> None:
        """Enroll a device that has no version, with its own directory."""
        done = self.run(
            "graylag-agent",
            *("enroll", "--dir", str(directory), "--device-id", device_id, *options),
            *("--server", self.facts["api_url"], "--token", self.facts["enrollment_token"]),
            *("--trust", self.facts["trust_bundle"]),
        )
        assert done.returncode == 0, done.stderr

    @cached_property
    def api(self) -> AdminApi:
        """The admin API, called as the command line does."""
        return AdminApi(self.facts["api_url"], self.facts["admin_token"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the service with a signal, and require that no process is left."""
        family = process_tree(self.process)
        self.api.__exit__()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        if self.process.stdout:
            self.process.stdout.close()
        _gone, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, f"left behind: {[(p.pid, p.cmdline()) for p in alive]}"
        return status


def start_up(directory: Path, **environment: str) -> Up:
    """Start `graylag up` and wait for its line of JSON."""
    with (directory.parent / f"{directory.name}.err").open("w") as errors:
        process = subprocess.Popen(
            [BIN / "graylag", "up", "--json", "--port", "0", "--data", directory],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (directory.parent / f"{directory.name}.err").read_text()
    return Up(process, json.loads(line), directory)


def process_tree(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """A process and all its descendants."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end."""
    return subprocess.run(
        [BIN / command[0], *command[1:]],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="session")
def shared_dir() -> Iterator[Path]:
    """A directory that other accounts can enter, for all journeys of a test process."""
    directory = Path(tempfile.mkdtemp(prefix="graylag-journey-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def up(shared_dir: Path) -> Iterator[Up]:
    """One running service, shared by all journeys that use their own models, devices and names."""
    running = start_up(
        shared_dir / "data", GRAYLAG_SNAPSHOT_INTERVAL_S="0.1", GRAYLAG_UPLOAD_PART_BYTES=str(5 * 2**20)
    )
    yield running
    assert running.stop() == 0
