"""`deploy/README.md` names only commands, variables, routes and log events that exist."""

import re
import shlex

import pytest
import typer
from fastapi.routing import APIRoute
from typer.core import TyperGroup

from service.api import health
from service.cli.main import build_app
from service.config import Settings
from tests.deploy.settings_table import README, table, variable, written

TEXT = README.read_text(encoding="utf-8")
OTHER_VARIABLES = {"GRAYLAG_KEY_PASSPHRASE", "GRAYLAG_URL", "GRAYLAG_TOKEN"}
COMMANDS = sorted(
    set(re.findall(r"^(?:docker .*?)?graylag(?::local)? ([a-z].*?)(?:\s*#.*)?$", TEXT, re.MULTILINE))
)
SOURCES = [path for package in ("service", "workers") for path in (README.parents[1] / package).rglob("*.py")]


def test_the_settings_table_is_up_to_date():
    assert written() == table()


def test_every_variable_in_the_text_exists():
    known = {variable(name) for name in Settings.model_fields} | OTHER_VARIABLES
    known |= {f"{name}_FILE" for name in known}
    assert set(re.findall(r"GRAYLAG_[A-Z0-9_]*[A-Z0-9]", TEXT)) <= known


def test_the_text_shows_how_to_start_every_process():
    assert {command.split()[0] for command in COMMANDS} >= {
        "api",
        "worker",
        "beat",
        "migrate",
        "keys",
        "token",
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_text_exists_with_its_options(line):
    command, words = typer.main.get_command(build_app()), shlex.split(line)
    context = typer.Context(command, info_name="graylag")
    while isinstance(command, TyperGroup):
        name, subcommand, words = command.resolve_command(context, words)
        assert subcommand is not None
        command = subcommand
        context = typer.Context(command, parent=context, info_name=name)
    assert command.make_context(name, words, parent=context).params is not None


def test_every_monitored_route_exists():
    paths = {route.path for route in health.router.routes if isinstance(route, APIRoute)}
    monitored = {path for path in ("/health", "/ready", "/metrics") if f"`{path}`" in TEXT}
    assert monitored == paths


def test_every_monitored_log_event_exists():
    code = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    events = re.findall(r"^\| log `([a-z_.]+)`", TEXT, re.MULTILINE)
    assert events
    assert [event for event in events if f'"{event}"' not in code] == []
