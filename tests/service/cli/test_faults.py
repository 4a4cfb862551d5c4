import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import migrations
from service.cli.faults import explained
from service.cli.main import build
from service.config import Settings
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


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("GRAYLAG_POLL_INTERVAL_S", "soon", "GRAYLAG_POLL_INTERVAL_S: Input should be a valid integer"),
        (
            "GRAYLAG_DATABASE_URL",
            "mysql://u:hush@h/d",
            "GRAYLAG_DATABASE_URL: Value error, it has to look like",
        ),
        ("GRAYLAG_ACCESS_TOKEN_SECRET", "hush", "GRAYLAG_ACCESS_TOKEN_SECRET: Value should have at least 32"),
        ("GRAYLAG_DEVICE_AUTH", "hush", "device_auth"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Exception) as fault:  # noqa: PT011 - of three libraries
        Settings()
    line = explained(fault.value)
    assert line is not None
    assert says in line
    assert "hush" not in line + str(fault.value)


def test_a_revision_that_is_not_there_is_named(database_url: str) -> None:
    with pytest.raises(Exception) as fault:  # noqa: PT011 - Alembic's
        migrations.upgrade(database_url, "nope")
    assert explained(fault.value) == "Can't locate revision identified by 'nope'"


def test_a_list_of_ids_that_is_no_text_is_refused_and_not_shown_as_a_trace(graylag, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"d1\nd\xff")
    done = CliRunner().invoke(build("cohort"), ["cohort", "put", "c", "--devices", str(tmp_path / "ids")])
    assert explained(done.exception) is not None
