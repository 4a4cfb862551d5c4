"""The reference client as a command for the conformance run: `python -m sdk_contract.conformance.reference`."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdk_contract.client.agent import Agent, AgentSettings
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.storage.store import InstalledVersion
from sdk_contract.client.transfer.range_download import DownloadLimits
from sdk_contract.errors import ContractError

SHORT_TIMEOUTS = DownloadLimits(
    timeout_s=1.5,
    min_bytes_per_s=2048,
    rate_window_s=1.0,
    max_tries=3,
    retry_delay_s=0.01,
    max_retry_delay_s=0.02,
    checkpoint_bytes=16 << 10,
)
SETTINGS = AgentSettings(LocalFileSystem(), StaticHost(), SHORT_TIMEOUTS, lambda _: None)
_OUTCOMES = {"updated": "updated", "rolled_back": "rolled_back", "waiting": "waiting", "failed": "failed"}


class App:
    """The app that runs the model; the scenario decides the result of its smoke test."""

    def __init__(self, smoke: str) -> None:
        """`smoke` is `good`, `bad` or `crash`."""
        self._smoke = smoke

    def load(self, installed: InstalledVersion) -> object:
        """Read the sizes of the files."""
        return {name: path.stat().st_size for name, path in installed.components.items()}

    def smoke_test(self, loaded: object) -> Mapping[str, float]:
        """Succeed, fail, or end the process."""
        del loaded
        if self._smoke == "crash":
            os._exit(134)
        if self._smoke == "bad":
            raise ValueError("the model's answers are wrong")
        return {}

    def close(self, loaded: object) -> None:
        """Do nothing: no file is open."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; print its JSON object, return its exit code."""
    code, output = execute(arguments)
    sys.stdout.write(json.dumps(output) + "\n")
    return code


def execute(arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Run one command; return its exit code and its JSON object."""
    options = _parser().parse_args(arguments)
    commands = {"init": _init, "update": _update, "status": _status}
    try:
        return commands[options.command](options)
    except ContractError as error:
        return 1, {"outcome": "failed", "code": error.code, "detail": error.detail}


def _init(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    Agent.enroll(
        options.dir,
        options.server,
        options.token,
        options.trust.read_bytes(),
        device_id=options.device_id,
        wanted_components=options.component,
        factory=options.shipped,
        settings=SETTINGS,
    )
    return 0, {}


def _update(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    result = Agent(options.dir, SETTINGS).update(App(options.smoke))
    output = {
        "outcome": _OUTCOMES.get(result.status, "unchanged"),
        "code": result.code,
        "version": result.version,
        "detail": result.detail,
    }
    return (0 if result.ok else 1), output


def _status(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    agent = Agent(options.dir, SETTINGS)
    installed, status = agent.installed(), agent.status()
    components = {} if installed is None else {name: str(path) for name, path in installed.components.items()}
    return 0, {
        "version": status["version"],
        "trust_version": status["trust_version"],
        "components": components,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("reference")
    commands = parser.add_subparsers(dest="command", required=True)
    init, update, status = (commands.add_parser(name) for name in ("init", "update", "status"))
    for command in (init, update, status):
        command.add_argument("--dir", type=Path, required=True)
    for name in ("--server", "--token", "--device-id"):
        init.add_argument(name, required=True)
    init.add_argument("--trust", type=Path, required=True)
    init.add_argument("--shipped", type=Path)
    init.add_argument("--component", action="append")
    update.add_argument("--smoke", choices=("good", "bad", "crash"), default="good")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
