"""Activates models in an external server by commands.

The commands get the version in their environment: `GRAYLAG_MODEL`, `GRAYLAG_VERSION`, `GRAYLAG_RELEASE_DIR` and, for each
component, `GRAYLAG_COMPONENT_<NAME>` with the path of its file. The commands run without a shell.
"""

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sdk_contract.client.errors import LoadFailed, SmokeFailed, StillInUse
from sdk_contract.client.storage.store import InstalledVersion

MAX_OUTPUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CommandActivator:
    """An `Activator` that runs commands.

    Attributes:
        on_activate: makes the server load the version; exits with 0 on success.
        health_check: exits with 0 if the model works; a JSON object of numbers on its output becomes metrics.
        timeout_s: longest run of a command, seconds.
        health_timeout_s: time for the health check to pass, seconds.
        health_interval_s: time between two health checks, seconds.
        on_unload: makes the server close its files, before they change in place (`--low-storage`).
    """

    on_activate: str | None = None
    health_check: str | None = None
    timeout_s: float = 600.0
    health_timeout_s: float = 60.0
    health_interval_s: float = 1.0
    on_unload: str | None = None

    def activate(self, installed: InstalledVersion) -> Mapping[str, float]:
        """See `Activator`; the metric `load_ms` is the run time of `on_activate`."""
        return self._load(installed) | self._wait_until_healthy(installed)

    def unload(self) -> None:
        """See `Activator`.

        Raises:
            StillInUse: `on_unload` failed; nothing has changed.
        """
        if self.on_unload is not None:
            code, output = self._run(self.on_unload, None)
            if code != 0:
                raise StillInUse(_failure(self.on_unload, code, output))

    def restore(self, installed: InstalledVersion | None) -> None:
        """See `Activator`: run `on_activate` with the old version."""
        if installed is not None and self.on_activate is not None:
            self._run(self.on_activate, installed)

    def _load(self, installed: InstalledVersion) -> dict[str, float]:
        if self.on_activate is None:
            return {}
        started = time.monotonic()
        code, output = self._run(self.on_activate, installed)
        if code != 0:
            raise LoadFailed(_failure(self.on_activate, code, output))
        return {"load_ms": round((time.monotonic() - started) * 1000, 3)}

    def _wait_until_healthy(self, installed: InstalledVersion) -> dict[str, float]:
        if self.health_check is None:
            return {}
        deadline = time.monotonic() + self.health_timeout_s
        while True:
            code, output = self._run(self.health_check, installed)
            if code == 0:
                return _parse_metrics(output)
            if time.monotonic() >= deadline:
                raise SmokeFailed(_failure(self.health_check, code, output))
            time.sleep(self.health_interval_s)

    def _run(self, command: str, installed: InstalledVersion | None) -> tuple[int, str]:
        try:
            done = subprocess.run(
                shlex.split(command),
                env=os.environ | (release_environment(installed) if installed else {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            return -1, str(error)
        output = done.stdout[:MAX_OUTPUT_BYTES] or done.stderr[-MAX_OUTPUT_BYTES:]
        return done.returncode, output.decode(errors="replace")


def release_environment(installed: InstalledVersion) -> dict[str, str]:
    """The environment variables that describe a version to a command."""
    paths = list(installed.components.values())
    variables = {
        "GRAYLAG_MODEL": installed.model,
        "GRAYLAG_VERSION": installed.version,
        "GRAYLAG_RELEASE_DIR": str(paths[0].parent) if paths else "",
    }
    for name, path in installed.components.items():
        variables[f"GRAYLAG_COMPONENT_{re.sub('[^A-Z0-9]', '_', name.upper())}"] = str(path)
    return variables


def _failure(command: str, code: int, output: str) -> str:
    return f"{command!r} exited with {code}: {output[-300:]}"


def _parse_metrics(output: str) -> dict[str, float]:
    try:
        metrics = json.loads(output)
        return {str(name): float(value) for name, value in metrics.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
