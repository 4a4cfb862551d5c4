"""The SDK under test: a command with three subcommands, or a Python function with the same protocol."""

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
"""Tells the SDK to use short timeouts (1 to 2 s without a byte) and to retry at once."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of one command.

    Attributes:
        exit_code: 0 for success, 1 for a refusal or failure, anything else for a crash.
        output: the JSON object on the last line of the standard output.
        log: standard output and standard error.
    """

    exit_code: int
    output: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    @property
    def code(self) -> str | None:
        """The stable error code, if the output has one."""
        code = self.output.get("code")
        return code if isinstance(code, str) else None


class Sdk(Protocol):
    """An SDK that implements the protocol of `sdk_contract/README.md`, section 16."""

    is_process: bool
    """Every command runs in its own process, which may be killed."""

    def call(self, arguments: Sequence[str]) -> CommandResult:
        """Run one command until it ends."""


class CommandSdk:
    """An SDK given as a command line."""

    is_process = True

    def __init__(self, command: str) -> None:
        """Split the command line as a shell does; no shell is started.

        Raises:
            ValueError: the command does not exist.
        """
        self._command = shlex.split(command)
        if not self._command or shutil.which(self._command[0]) is None:
            raise ValueError(f"--sdk: the command {command!r} does not exist")

    def call(self, arguments: Sequence[str]) -> CommandResult:
        """See `Sdk.call`; a command that does not end in time is killed and counts as a crash."""
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
            return CommandResult(-1, log=f"did not end within {TIMEOUT_S:g} s")
        output = done.stdout.decode(errors="replace")
        return CommandResult(
            done.returncode, _last_object(output), (output + done.stderr.decode(errors="replace"))[-4000:]
        )

    def interrupt(self, arguments: Sequence[str], when: Callable[[], bool]) -> bool:
        """Start a command and kill it (SIGKILL) as soon as `when` returns True; return False if it ended before."""
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
    """A Python SDK that runs in this process, which saves the start of an interpreter per command."""

    is_process = False

    def __init__(self, execute: Callable[[Sequence[str]], tuple[int, dict[str, Any]]]) -> None:
        """`execute` does what the command would do: arguments -> (exit code, JSON object)."""
        self._execute = execute

    def call(self, arguments: Sequence[str]) -> CommandResult:
        """See `Sdk.call`; an exception counts as a crash."""
        try:
            code, output = self._execute(arguments)
        except Exception as error:  # noqa: BLE001 - in a separate process this would be a traceback and a crash
            return CommandResult(70, log=f"{type(error).__name__}: {error}")
        return CommandResult(code, output)


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
