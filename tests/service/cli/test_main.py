"""The command as a whole: what it makes of faults that are not its own, and of its help."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.main import build, explained
from service.errors import Refusal


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Refusal("no"), "no"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"),
            "a/b: No such file or directory",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("gone"), "gone"),
    ],
)
def test_what_this_machine_refuses_is_one_line_that_names_the_file(error: Exception, line: str) -> None:
    assert explained(error) == line


def test_bytes_that_are_no_text_are_shown_as_they_came() -> None:
    with pytest.raises(UnicodeError) as fault:
        b"id\xff".decode()
    assert explained(fault.value) == r"not UTF-8: b'id\xff'"


def test_a_fault_of_ours_keeps_its_trace() -> None:
    assert explained(KeyError("x")) is None


def test_a_database_that_is_away_is_one_line_without_a_trace() -> None:
    away = {"GRAYLAG_DATABASE_URL": "postgresql://graylag:hush@127.0.0.1:1/graylag"}
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "token", "create", "ops"],
        env=os.environ | away,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("graylag: the database does not answer: ")
    assert done.stderr.count("\n") == 1
    assert "hush" not in done.stderr


def test_a_list_of_ids_that_is_no_text_is_refused_and_not_shown_as_a_trace(graylag, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"d1\nd\xff")
    done = CliRunner().invoke(build("cohort"), ["cohort", "put", "c", "--devices", str(tmp_path / "ids")])
    assert explained(done.exception) is not None


def test_an_address_at_which_nothing_is_found_is_named(graylag) -> None:
    graylag.url += "/behind/a/path"
    assert f"GET {graylag.url}/v1/admin/rollouts" in graylag("rollout", "list", status=1)


@pytest.mark.parametrize("name", ["publish", "demo", "simulate", "apply"])
def test_paragraphs_of_help_break_where_the_window_ends(name: str) -> None:
    shown = CliRunner().invoke(build(name), [name, "--help"], env={"COLUMNS": "300"}).output
    paragraphs = [line for line in shown.split("╭")[0].splitlines() if len(line.split()) > 1]
    assert len(paragraphs) == 3, "usage, and two paragraphs of one line each"
