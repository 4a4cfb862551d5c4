import pytest
from typer.testing import CliRunner

from service.cli.main import build


def test_an_address_at_which_nothing_is_found_is_named(graylag) -> None:
    graylag.url += "/behind/a/path"
    assert f"GET {graylag.url}/v1/admin/rollouts" in graylag("rollout", "list", status=1)


@pytest.mark.parametrize("name", ["publish", "demo", "simulate", "apply"])
def test_paragraphs_of_help_break_where_the_window_ends(name: str) -> None:
    shown = CliRunner().invoke(build(name), [name, "--help"], env={"COLUMNS": "300"}).output
    paragraphs = [line for line in shown.split("╭")[0].splitlines() if len(line.split()) > 1]
    assert len(paragraphs) == 3, "usage, and two paragraphs of one line each"
