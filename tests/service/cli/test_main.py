from importlib.metadata import entry_points

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from service.cli.main import ENTRY_POINT_GROUP, build_app

SUBCOMMANDS = sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))


def test_a_wrong_path_in_the_server_url_is_shown(graylag) -> None:
    graylag.url += "/behind/a/path"
    assert f"GET {graylag.url}/v1/admin/rollouts" in graylag("rollout", "list", status=1)


@pytest.mark.parametrize("name", ["publish", "demo", "simulate", "apply"])
def test_each_paragraph_of_a_help_text_is_one_line_in_a_wide_terminal(name: str) -> None:
    shown = CliRunner().invoke(build_app(name), [name, "--help"], env={"COLUMNS": "400"}).output
    paragraphs = [line for line in shown.split("╭")[0].splitlines() if len(line.split()) > 1]
    assert len(paragraphs) == 3, "usage and two paragraphs"


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_texts_are_printed_without_turning_examples_into_emoji(name: str) -> None:
    app = build_app(name)
    verbs = getattr(get_command(app).commands[name], "commands", {})  # type: ignore[attr-defined]
    for words in [[name], *([name, verb] for verb in verbs)]:
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, words
        # Rich would replace the `:100:` in `internal:100:20`.
        assert not [letter for letter in shown.output if ord(letter) >= 0x1F000], words


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_argument_and_option_has_a_help_text(name: str) -> None:
    group = get_command(build_app(name)).commands[name]  # type: ignore[attr-defined]
    for command in getattr(group, "commands", {name: group}).values():
        assert command.help, command.name
        without_help = [one.name for one in command.params if one.name != "help" and not one.help]
        assert without_help == [], command.name
