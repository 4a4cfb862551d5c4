"""The SDK under test: a command with three verbs, or the same protocol inside this process."""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

TIMEOUT_S = 60.0
ENVIRONMENT = {"GRAYLAG_CONFORMANCE": "1"}
"""Tells the SDK to be impatient: a second or two without a byte is a time-out, retries come at once."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a command ended.

    Attributes:
        exit_code: 0 fine, 1 refused or failed; anything else is a crash.
        told: the JSON object on the last line of its output.
        log: the rest, for people.
    """

    exit_code: int
    told: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    @property
    def code(self) -> str | None:
        """The stable code of what went wrong."""
        code = self.told.get("code")
        return code if isinstance(code, str) else None


class Sdk(Protocol):
    """Something that understands the protocol of `README.md`, "Conformance"."""

    separate: bool
    """It runs in processes of its own, which may die."""

    def call(self, arguments: Sequence[str]) -> Reply:
        """Run one command to its end."""


class CommandSdk:
    """A command of the operating system."""

    separate = True

    def __init__(self, command: str) -> None:
        """Split like a shell does, but start no shell.

        Raises:
            ValueError: nothing that can be started.
        """
        self._command = shlex.split(command)
        if not self._command or shutil.which(self._command[0]) is None:
            raise ValueError(f"{command!r} is no command that can be started")

    def call(self, arguments: Sequence[str]) -> Reply:
        """See `Sdk`; a command that does not end is killed, which is a failure."""
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                env=os.environ | ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Reply(-1, log=f"did not end within {TIMEOUT_S:g} s")
        output = done.stdout.decode(errors="replace")
        return Reply(
            done.returncode, _last_object(output), (output + done.stderr.decode(errors="replace"))[-4000:]
        )

    def interrupt(self, arguments: Sequence[str], when: Callable[[], bool]) -> bool:
        """Start a command and kill it without warning once `when` says so; false if it ended before."""
        with subprocess.Popen(
            [*self._command, *arguments],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            deadline = time.monotonic() + TIMEOUT_S
            while process.poll() is None and time.monotonic() < deadline:
                if when():
                    process.kill()
                    return True
                time.sleep(0.002)
            process.kill()
            return False


class InProcessSdk:
    """A Python SDK without the price of starting Python."""

    separate = False

    def __init__(self, execute: Callable[[Sequence[str]], tuple[int, dict[str, Any]]]) -> None:
        """Take a function that does what the command would do: arguments -> exit code and JSON object."""
        self._execute = execute

    def call(self, arguments: Sequence[str]) -> Reply:
        """See `Sdk`; an exception is a crash."""
        try:
            code, told = self._execute(arguments)
        except Exception as error:  # noqa: BLE001 - whatever escapes would have been a traceback
            return Reply(70, log=f"{type(error).__name__}: {error}")
        return Reply(code, told)


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
