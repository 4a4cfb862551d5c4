"""The reference client under the protocol of the conformance run: `python -m sdk_contract.conformance.reference`."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdk_contract.client.agent import Agent, Settings
from sdk_contract.client.fetch import Limits
from sdk_contract.client.files import DiskFiles
from sdk_contract.client.host import PlainHost
from sdk_contract.client.store import Installed
from sdk_contract.errors import ContractError

IMPATIENT = Limits(
    timeout_s=1.5,
    min_rate=2048,
    rate_window_s=1.0,
    tries=3,
    pause_s=0.01,
    max_pause_s=0.02,
    note_every=16 << 10,
)
SETTINGS = Settings(DiskFiles(), PlainHost(), IMPATIENT, lambda _: None)
_OUTCOMES = {"updated": "updated", "rolled_back": "rolled_back", "waiting": "waiting", "failed": "failed"}


class App:
    """Stands for the app that runs the model; its smoke test says what the scenario wants."""

    def __init__(self, smoke: str) -> None:
        """`good`, `bad` or `crash`."""
        self._smoke = smoke

    def load(self, installed: Installed) -> object:
        """Read the files."""
        return {name: path.stat().st_size for name, path in installed.components.items()}

    def smoke_test(self, loaded: object) -> Mapping[str, float]:
        """Say it."""
        del loaded
        if self._smoke == "crash":
            os._exit(134)
        if self._smoke == "bad":
            raise ValueError("the answers are wrong")
        return {}

    def close(self, loaded: object) -> None:
        """Nothing is open."""


def main(arguments: Sequence[str]) -> int:
    """The command: prints one JSON object, returns the exit status."""
    code, told = execute(arguments)
    sys.stdout.write(json.dumps(told) + "\n")
    return code


def execute(arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """The command as a function."""
    options = _parser().parse_args(arguments)
    verbs = {"init": _init, "update": _update, "status": _status}
    try:
        return verbs[options.verb](options)
    except ContractError as fault:
        return 1, {"outcome": "failed", "code": fault.code, "detail": fault.detail}


def _init(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    Agent.enroll(
        options.dir,
        options.server,
        options.token,
        options.trust.read_bytes(),
        device_id=options.device_id,
        modules=options.module,
        factory=options.shipped,
        settings=SETTINGS,
    )
    return 0, {}


def _update(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    outcome = Agent(options.dir, SETTINGS).update(App(options.smoke))
    told = {
        "outcome": _OUTCOMES.get(outcome.status, "unchanged"),
        "code": outcome.code,
        "version": outcome.version,
        "detail": outcome.detail,
    }
    return (0 if outcome.ok else 1), told


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
    verbs = parser.add_subparsers(dest="verb", required=True)
    init, update, status = (verbs.add_parser(name) for name in ("init", "update", "status"))
    for command in (init, update, status):
        command.add_argument("--dir", type=Path, required=True)
    for name in ("--server", "--token", "--device-id"):
        init.add_argument(name, required=True)
    init.add_argument("--trust", type=Path, required=True)
    init.add_argument("--shipped", type=Path)
    init.add_argument("--module", action="append")
    update.add_argument("--smoke", choices=("good", "bad", "crash"), default="good")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
