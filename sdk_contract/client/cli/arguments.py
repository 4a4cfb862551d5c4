"""The command line of `graylag-agent`: its commands and their options."""

import argparse
import os
import re
import socket
from pathlib import Path
from typing import Any

from sdk_contract.client.cli import commands
from sdk_contract.wire import AttributeValue


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; each command stores its function in `command`."""
    parser = argparse.ArgumentParser(
        "graylag-agent", description="Keep the AI model of this device up to date."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_enroll(_subcommand(subparsers, "enroll", "enroll a device, and create its directory"))
    _add_update(_subcommand(subparsers, "update", "poll once, and install what the server orders"))
    _add_run(_subcommand(subparsers, "run", "poll in the background until stopped"))
    _add_status(_subcommand(subparsers, "status", "show the device's version and state"))
    _add_health(_subcommand(subparsers, "health", "report the health of the version on probation"))
    _add_set_components(_subcommand(subparsers, "set-components", "choose the components to install"))
    _add_set_attributes(_subcommand(subparsers, "set-attributes", "change attributes of the device"))
    return parser


def parse_attribute(text: str) -> tuple[str, AttributeValue]:
    """Parse `NAME=VALUE`: `true` and `false` are booleans, whole numbers are integers, anything else is text.

    Raises:
        argparse.ArgumentTypeError: the text has no `=`.
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if re.fullmatch(r"-?\d{1,15}", value, re.ASCII) else value


def _subcommand(subparsers: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    return parser


def _add_enroll(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.enroll)
    add = parser.add_argument
    add("--dir", type=Path, required=True, help="directory of the device; created if missing")
    add("--server", required=True, help="base URL of the server: https://...")
    add(
        "--token",
        default=os.environ.get("GRAYLAG_ENROLLMENT_TOKEN"),
        help="enrollment token; GRAYLAG_ENROLLMENT_TOKEN keeps it out of the process list",
    )
    add("--trust", type=Path, required=True, help="file of the trust bundle, from a trusted channel")
    add("--device-id", default=socket.gethostname(), help="unique in the fleet (default: the host name)")
    add("--model", help="model to poll for; needed if the server has several")
    add(
        "--attribute",
        action="append",
        default=[],
        type=parse_attribute,
        metavar="NAME=VALUE",
        help="attribute of the device; may be repeated",
    )
    add(
        "--component",
        action="append",
        metavar="NAME",
        help="component to install; may be repeated (default: all)",
    )
    add("--factory", type=Path, metavar="DIR", help="manifest.json and the files that shipped with the app")
    add("--allow-http", action="store_true", help="allow http to another machine (for tests only)")


def _add_update(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.update)
    _add_device_options(parser)
    _add_activation_options(parser)
    _add_update_options(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.run_in_background)
    _add_device_options(parser)
    _add_activation_options(parser)
    _add_update_options(parser)
    parser.add_argument(
        "--poll-now", action="store_true", help="poll at once, without the random first delay"
    )


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.status)
    _add_device_options(parser)


def _add_health(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.report_health)
    _add_device_options(parser)
    _add_activation_options(parser)
    parser.add_argument("health", choices=["good", "bad"], help="whether the running version works")
    parser.add_argument("--detail", default="", help="reason for bad health, for the operator")


def _add_set_components(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.set_components)
    _add_device_options(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="components to install (default: all)")


def _add_set_attributes(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=commands.set_attributes)
    _add_device_options(parser)
    parser.add_argument(
        "attributes", nargs="+", type=parse_attribute, metavar="NAME=VALUE", help="attributes to set"
    )


def _add_device_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="directory of the device")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")


def _add_activation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-activate", metavar="CMD", help="command that loads a version; exit status 0 on success"
    )
    parser.add_argument("--on-unload", metavar="CMD", help="command that makes the server close its files")


def _add_update_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--health-check",
        metavar="CMD",
        help="command that exits with 0 if the model works; may print metrics as JSON",
    )
    add(
        "--health-timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="time for the health check to pass, seconds",
    )
    add(
        "--probation",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds to wait for a `health` report before rolling back (default: none)",
    )
    add("--low-storage", action="store_true", help="patch files in place; the model cannot run meanwhile")
    add("--metered", action="store_true", help="the network charges by the byte")
    add("--byte-budget", type=int, metavar="N", help="maximum number of bytes that one update downloads")
