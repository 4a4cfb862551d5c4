"""An external server as the runtime: one command brings a version to life, another one asks how it is.

Both are told what to load by their environment: `GRAYLAG_MODEL`, `GRAYLAG_VERSION`, `GRAYLAG_RELEASE_DIR` and, per
component, `GRAYLAG_COMPONENT_<NAME>` with the path of its file. No shell is involved.
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
from sdk_contract.client.store import Installed

MAX_OUTPUT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Commands:
    """`Activator` by two commands.

    Attributes:
        on_release: makes the server close its files; asked before they change in place (`--low-storage`).
        on_activate: returns 0 once the server has taken the version on.
        health: returns 0 when the model works; a JSON object of numbers on its output becomes metrics.
        timeout_s: of each run of a command.
        patience_s: how long health may take to become good.
        interval_s: between two questions about it.
    """

    on_activate: str | None = None
    health: str | None = None
    timeout_s: float = 600.0
    patience_s: float = 60.0
    interval_s: float = 1.0
    on_release: str | None = None

    def activate(self, installed: Installed) -> Mapping[str, float]:
        """See `runtime.Activator`; adds `load_ms` where a command has loaded something."""
        return self._load(installed) | self._until_healthy(installed)

    def let_go(self) -> None:
        """See `runtime.Activator`.

        Raises:
            StillInUse: the server did not let go; nothing was changed.
        """
        if self.on_release is not None:
            code, output = self._run(self.on_release, None)
            if code != 0:
                raise StillInUse(f"{self.on_release!r} ended with {code}: {output[-300:]}")

    def restore(self, installed: Installed | None) -> None:
        """See `runtime.Activator`: hand the old version over again."""
        if installed is not None and self.on_activate is not None:
            self._run(self.on_activate, installed)

    def _load(self, installed: Installed) -> dict[str, float]:
        if self.on_activate is None:
            return {}
        started = time.monotonic()
        code, output = self._run(self.on_activate, installed)
        if code != 0:
            raise LoadFailed(f"{self.on_activate!r} ended with {code}: {output[-300:]}")
        return {"load_ms": round((time.monotonic() - started) * 1000, 3)}

    def _until_healthy(self, installed: Installed) -> dict[str, float]:
        if self.health is None:
            return {}
        deadline = time.monotonic() + self.patience_s
        while True:
            code, output = self._run(self.health, installed)
            if code == 0:
                return _numbers(output)
            if time.monotonic() >= deadline:
                raise SmokeFailed(f"{self.health!r} ended with {code}: {output[-300:]}")
            time.sleep(self.interval_s)

    def _run(self, command: str, installed: Installed | None) -> tuple[int, str]:
        try:
            done = subprocess.run(
                shlex.split(command),
                env=os.environ | (environment(installed) if installed else {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            return -1, str(error)
        return done.returncode, (done.stdout[:MAX_OUTPUT] or done.stderr[-MAX_OUTPUT:]).decode(
            errors="replace"
        )


def environment(installed: Installed) -> dict[str, str]:
    """The variables that tell a command what to load."""
    paths = list(installed.components.values())
    told = {
        "GRAYLAG_MODEL": installed.model,
        "GRAYLAG_VERSION": installed.version,
        "GRAYLAG_RELEASE_DIR": str(paths[0].parent) if paths else "",
    }
    for name, path in installed.components.items():
        told[f"GRAYLAG_COMPONENT_{re.sub('[^A-Z0-9]', '_', name.upper())}"] = str(path)
    return told


def _numbers(output: str) -> dict[str, float]:
    try:
        found = json.loads(output)
        return {str(name): float(value) for name, value in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
