from importlib.metadata import entry_points

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from service.cli.main import GROUP, build
from service.cli.options import counted, show_table, to_the_second


def test_a_table_shows_words_as_they_were_said(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("cohort", "reason"), [("internal:100:20", "[red]stop[/red] :warning:")], empty="none")
    shown = capsys.readouterr().out
    assert "internal:100:20" in shown
    assert "[red]stop[/red] :warning:" in shown


def test_one_is_not_many() -> None:
    assert [counted(number, "stage") for number in (0, 1, 2000)] == ["0 stages", "1 stage", "2,000 stages"]


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-11-20T19:53:20.789407Z", "2026-11-20T19:53:20Z"),
        ("2026-11-20T19:53:20Z", "2026-11-20T19:53:20Z"),
        (None, ""),
    ],
)
def test_a_person_sees_seconds(moment: str | None, shown: str) -> None:
    assert to_the_second(moment) == shown


@pytest.mark.parametrize("name", sorted(entry.name for entry in entry_points(group=GROUP)))
def test_help_shows_its_examples_as_they_are_typed(name: str) -> None:
    app = build(name)
    verbs = getattr(get_command(app).commands[name], "commands", {})  # type: ignore[attr-defined]
    for words in [[name], *([name, verb] for verb in verbs)]:
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, words
        # Rich would turn `internal:100:20` into a picture of a hundred.
        assert not [letter for letter in shown.output if ord(letter) >= 0x1F000], words
