import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import migrations
from service.cli.errors import user_message
from service.cli.main import build_app
from service.config import Settings
from service.errors import UserFacingError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserFacingError("no"), "no"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"),
            "a/b: No such file or directory",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("gone"), "gone"),
    ],
)
def test_an_error_of_the_operating_system_is_one_line_with_the_file(error: Exception, message: str) -> None:
    assert user_message(error) == message


def test_invalid_utf_8_is_shown_as_bytes() -> None:
    with pytest.raises(UnicodeError) as caught:
        b"id\xff".decode()
    assert user_message(caught.value) == r"not UTF-8: b'id\xff'"


def test_a_bug_has_no_message_and_keeps_its_traceback() -> None:
    assert user_message(KeyError("x")) is None


def test_an_unreachable_database_is_one_line_without_the_password() -> None:
    unreachable = {"GRAYLAG_DATABASE_URL": "postgresql://graylag:hush@127.0.0.1:1/graylag"}
    done = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "token", "create", "ops"],
        env=os.environ | unreachable,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("graylag: cannot reach the database (GRAYLAG_DATABASE_URL): ")
    assert done.stderr.count("\n") == 1
    assert "hush" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GRAYLAG_POLL_INTERVAL_S", "soon", "GRAYLAG_POLL_INTERVAL_S: input should be a valid integer"),
        ("GRAYLAG_DATABASE_URL", "mysql://u:hush@h/d", "GRAYLAG_DATABASE_URL: must have the form "),
        ("GRAYLAG_ACCESS_TOKEN_SECRET", "hush", "GRAYLAG_ACCESS_TOKEN_SECRET: value should have at least 32"),
        ("GRAYLAG_DEVICE_AUTH", "hush", "device_auth"),
    ],
)
def test_an_invalid_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - raised by one of three libraries
        Settings()
    shown = user_message(caught.value)
    assert shown is not None
    assert message in shown
    assert "hush" not in shown + str(caught.value)


def test_an_unknown_revision_is_named(database_url: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - Alembic's own type
        migrations.upgrade(database_url, "nope")
    assert user_message(caught.value) == "Can't locate revision identified by 'nope'"


def test_a_list_of_ids_that_is_not_utf_8_has_a_message(graylag, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"d1\nd\xff")
    done = CliRunner().invoke(build_app("cohort"), ["cohort", "put", "c", "--devices", str(tmp_path / "ids")])
    assert isinstance(done.exception, Exception)
    assert user_message(done.exception) is not None
