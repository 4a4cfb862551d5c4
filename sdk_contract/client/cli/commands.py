"""The commands of `graylag-agent`; each takes the parsed options and returns the exit status."""

import argparse
import json
import signal
import sys
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any, NoReturn

from sdk_contract.client.agent import Agent, default_agent_settings
from sdk_contract.client.background import BackgroundUpdater
from sdk_contract.client.host.command_activator import CommandActivator
from sdk_contract.client.host.linux import LinuxHost
from sdk_contract.client.lifecycle.activation import TrialPolicy
from sdk_contract.client.lifecycle.result import UpdateResult
from sdk_contract.documents import TrustBundle

FAILED = 1
USAGE = 2


def enroll(options: argparse.Namespace) -> int:
    """Enroll a device."""
    if not options.token:
        print(
            "graylag-agent: no enrollment token is given; set --token or GRAYLAG_ENROLLMENT_TOKEN",
            file=sys.stderr,
        )
        return USAGE
    with options.trust.open("rb") as stream:
        trust_envelope = stream.read(TrustBundle.limit + 1)
    agent = Agent.enroll(
        options.dir,
        options.server,
        options.token,
        trust_envelope,
        device_id=options.device_id,
        model=options.model,
        attributes=dict(options.attribute),
        wanted_components=options.component,
        factory=options.factory,
        allow_http=options.allow_http,
    )
    print(f"{options.device_id} runs {agent.status()['version'] or 'no model yet'}")
    return 0


def update(options: argparse.Namespace) -> int:
    """Poll once, and install what the server orders."""
    result = _agent(options).update(activator=_activator(options))
    _print_result(result, as_json=options.json)
    return 0 if result.ok else FAILED


def run_in_background(options: argparse.Namespace) -> int:
    """Poll until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    updater = BackgroundUpdater(
        _agent(options),
        _activator(options),
        threading.Event(),
        lambda result: _print_result(result, as_json=options.json),
        poll_now=options.poll_now,
    )
    try:
        updater.run()
    except KeyboardInterrupt:
        return 0
    return 0


def report_health(options: argparse.Namespace) -> int:
    """Report the health of the version on probation, and send the events."""
    activator = CommandActivator(options.on_activate, on_unload=options.on_unload)
    agent = Agent(options.dir)
    result = agent.report_health(good=options.health == "good", detail=options.detail, activator=activator)
    if result is None:
        print("no version is on probation")
        return 0
    _print_result(result, as_json=options.json)
    agent.send_events()
    return 0


def set_components(options: argparse.Namespace) -> int:
    """Choose the components to install."""
    Agent(options.dir).set_wanted_components(options.names or None)
    print("saved; the next update downloads missing components")
    return 0


def set_attributes(options: argparse.Namespace) -> int:
    """Change attributes of the device."""
    Agent(options.dir).set_attributes(dict(options.attributes))
    return 0


def status(options: argparse.Namespace) -> int:
    """Show the device's version and state."""
    values: dict[str, Any] = Agent(options.dir).status()
    if options.json:
        print(json.dumps(values))
    else:
        for name, value in values.items():
            print(f"{name:24} {_readable(name, value)}")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop like Ctrl-C; an update may stop anywhere, because each step is on disk before it begins."""
    raise KeyboardInterrupt


def _agent(options: argparse.Namespace) -> Agent:
    settings = replace(
        default_agent_settings(),
        host=LinuxHost(metered=options.metered, byte_budget=options.byte_budget),
        trial=TrialPolicy(probation_s=options.probation),
        low_storage=options.low_storage,
    )
    return Agent(options.dir, settings)


def _activator(options: argparse.Namespace) -> CommandActivator:
    return CommandActivator(
        options.on_activate,
        options.health_check,
        health_timeout_s=options.health_timeout,
        on_unload=options.on_unload,
    )


def _print_result(result: UpdateResult, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(result)), flush=True)
        return
    text = f"{result.status} ({result.reason}), runs {result.version or 'nothing'}"
    if result.download_format:
        text += f", {result.bytes_downloaded} bytes as {result.download_format}"
    print(text + (f": {result.detail}" if result.detail else ""), flush=True)


def _readable(name: str, value: Any) -> object:
    if value is None or value == {}:
        return "-"
    if name.endswith("_at"):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return value
