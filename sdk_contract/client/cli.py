"""`graylag-agent`: the client as a command, for Linux-class devices and for trying things out."""

import argparse
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pydantic import ValidationError

from sdk_contract.client.activation import Trial
from sdk_contract.client.agent import Agent, default_settings
from sdk_contract.client.background import Background
from sdk_contract.client.command import Commands
from sdk_contract.client.machine import Machine
from sdk_contract.client.outcome import Outcome
from sdk_contract.documents import TrustBundle
from sdk_contract.errors import ContractError
from sdk_contract.wire import AttributeValue

FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""As shells say it of a command that Ctrl-C has ended."""


def run() -> NoReturn:
    """The entry point."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0 fine, 1 failed or rolled back, 2 wrong use, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ContractError as fault:
        print(f"graylag-agent: {fault}", file=sys.stderr)
    except OSError as error:
        print(f"graylag-agent: {error}", file=sys.stderr)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        print(f"graylag-agent: {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "graylag-agent", description="Keeps the AI model of this device current."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _enroll_options(commands.add_parser("enroll", help="make a directory a device of a server"))
    update = commands.add_parser("update", help="poll once and do what follows from it")
    update.set_defaults(command=_update)
    background = commands.add_parser("run", help="poll in the background until stopped")
    background.set_defaults(command=_run)
    background.add_argument("--eager", action="store_true", help="poll at once, without a random delay")
    status = commands.add_parser("status", help="show what this device runs and does")
    status.set_defaults(command=_status)
    health = commands.add_parser("health", help="say how the version on probation does")
    health.set_defaults(command=_health)
    health.add_argument("verdict", choices=["good", "bad"])
    health.add_argument("--detail", default="", help="why, for the operator")
    modules = commands.add_parser("modules", help="choose the components that this device holds")
    modules.set_defaults(command=_modules)
    modules.add_argument("names", nargs="*", metavar="NAME", help="none for all")
    describe = commands.add_parser("describe", help="change facts about the device")
    describe.set_defaults(command=_describe)
    describe.add_argument("facts", nargs="+", type=_attribute, metavar="K=V")
    for command in (update, background):
        command.add_argument(
            "--probation", type=float, default=0.0, metavar="S", help="time for `health`, seconds"
        )
    for command in (update, background, health):
        command.add_argument("--on-activate", metavar="CMD", help="brings a version to life; 0 means it did")
        command.add_argument("--on-release", metavar="CMD", help="makes the server close its files")
    for command in (update, background):
        command.add_argument(
            "--low-storage", action="store_true", help="patch files in place; stops the model"
        )
        command.add_argument("--metered", action="store_true", help="somebody pays for each byte here")
        command.add_argument("--byte-budget", type=int, metavar="N", help="most bytes of one update")
        command.add_argument(
            "--health", metavar="CMD", help="0 means that the model works; may print metrics"
        )
        command.add_argument("--patience", type=float, default=60.0, metavar="S", help="for health, seconds")
    for command in (update, background, status, health, modules, describe):
        command.add_argument("--dir", type=Path, required=True, help="of the device")
        command.add_argument("--json", action="store_true", help="one JSON object per line")
    return parser


def _enroll_options(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=_enroll)
    command.add_argument("--dir", type=Path, required=True, help="made where it is missing")
    command.add_argument("--server", required=True, help="https://...")
    command.add_argument(
        "--token",
        default=os.environ.get("GRAYLAG_ENROLMENT_TOKEN"),
        help="enrolment token; better in GRAYLAG_ENROLMENT_TOKEN, out of the process list",
    )
    command.add_argument("--trust", type=Path, required=True, help="trust bundle, from a trusted channel")
    command.add_argument("--device-id", default=socket.gethostname(), help="unique in the fleet")
    command.add_argument("--model", help="needed where the server has several")
    command.add_argument(
        "--attribute",
        action="append",
        default=[],
        type=_attribute,
        metavar="K=V",
        help="fact about the device",
    )
    command.add_argument(
        "--module", action="append", metavar="NAME", help="component wanted; all if not given"
    )
    command.add_argument("--factory", type=Path, help="manifest.json and the files that shipped with the app")
    command.add_argument(
        "--plain-http", action="store_true", help="allow http to another machine (tests only)"
    )


def _enroll(options: argparse.Namespace) -> int:
    if not options.token:
        print("graylag-agent: --token or GRAYLAG_ENROLMENT_TOKEN is needed", file=sys.stderr)
        return USAGE
    with options.trust.open("rb") as stream:
        trust = stream.read(TrustBundle.limit + 1)
    agent = Agent.enroll(
        options.dir,
        options.server,
        options.token,
        trust,
        device_id=options.device_id,
        model=options.model,
        attributes=dict(options.attribute),
        modules=options.module,
        factory=options.factory,
        plain_http=options.plain_http,
    )
    print(f"{options.device_id} runs {agent.status()['version'] or 'no model yet'}")
    return 0


def _attribute(text: str) -> tuple[str, AttributeValue]:
    """`ram_mb=8192` is a number, `rooted=false` a truth value, all else text: version 5.10 is not 5.1."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not K=V")
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if re.fullmatch(r"-?\d{1,15}", value, re.ASCII) else value


def _update(options: argparse.Namespace) -> int:
    outcome = _agent(options).update(activator=_commands(options))
    _tell(outcome, as_json=options.json)
    return 0 if outcome.ok else FAILED


def _run(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _end)
    background = Background(
        _agent(options),
        _commands(options),
        threading.Event(),
        lambda outcome: _tell(outcome, as_json=options.json),
        eager=options.eager,
    )
    try:
        background.run()
    except KeyboardInterrupt:
        return 0
    return 0


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """An orderly end: every step is on disk before it acts, so any moment is a good one."""
    raise KeyboardInterrupt


def _health(options: argparse.Namespace) -> int:
    good = options.verdict == "good"
    commands = Commands(options.on_activate, on_release=options.on_release)
    agent = Agent(options.dir)
    outcome = agent.report_health(good=good, detail=options.detail, activator=commands)
    if outcome is None:
        print("no version is on probation")
        return 0
    _tell(outcome, as_json=options.json)
    agent.flush()
    return 0


def _modules(options: argparse.Namespace) -> int:
    Agent(options.dir).want_modules(options.names or None)
    print("the next update fetches what is missing")
    return 0


def _describe(options: argparse.Namespace) -> int:
    Agent(options.dir).describe(dict(options.facts))
    return 0


def _agent(options: argparse.Namespace) -> Agent:
    chosen = replace(
        default_settings(),
        host=Machine(metered=options.metered, byte_budget=options.byte_budget),
        trial=Trial(probation_s=options.probation),
        low_storage=options.low_storage,
    )
    return Agent(options.dir, chosen)


def _commands(options: argparse.Namespace) -> Commands:
    return Commands(
        options.on_activate,
        options.health,
        patience_s=options.patience,
        on_release=options.on_release,
    )


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(outcome)), flush=True)
        return
    what = f"{outcome.status} ({outcome.reason}), runs {outcome.version or 'nothing'}"
    way = f", {outcome.bytes_downloaded} bytes as {outcome.way}" if outcome.way else ""
    print(what + way + (f": {outcome.detail}" if outcome.detail else ""), flush=True)


def _status(options: argparse.Namespace) -> int:
    status: dict[str, Any] = Agent(options.dir).status()
    if options.json:
        print(json.dumps(status))
    else:
        for name, value in status.items():
            print(f"{name:24} {_readable(name, value)}")
    return 0


def _readable(name: str, value: Any) -> object:
    if value is None or value == {}:
        return "-"
    if name.endswith("_at"):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return value


if __name__ == "__main__":
    run()
