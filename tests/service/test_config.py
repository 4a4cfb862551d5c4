"""Settings from variables and files."""

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from service.config import Settings
from service.config.files import MAX_FILE_BYTES


def test_settings_are_read_from_variables_with_the_prefix(monkeypatch):
    monkeypatch.setenv("GRAYLAG_S3_BUCKET", "weights")
    monkeypatch.setenv("S3_BUCKET", "other")
    assert Settings().s3_bucket == "weights"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_database_url_may_have_the_form_of_other_tools(scheme):
    url = Settings(database_url=f"{scheme}://u:p@h:5432/d").database_url
    assert url == "postgresql+psycopg://u:p@h:5432/d"


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("GRAYLAG_S3_ENDPOINT", "")
    monkeypatch.setenv("GRAYLAG_JOB_LEASE_S", "")
    assert (Settings().s3_endpoint, Settings().job_lease_s) == (None, 90)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("snapshot_interval_s", "0"),
        ("upload_part_bytes", "1024"),
        ("download_url_ttl_s", "604801"),
        ("log_level", "chatty"),
        ("poll_interval_s", "often"),
        ("access_token_ttl_s", "1"),
    ],
)
def test_an_invalid_value_stops_the_start_and_names_the_setting(monkeypatch, name, value):
    monkeypatch.setenv(f"GRAYLAG_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_secrets_are_never_shown():
    settings = Settings(access_token_secret="s" * 40, s3_secret_key="k" * 20, redis_url="redis://:pw@h/0")
    for secret in ("s" * 40, "k" * 20, "pw@"):
        assert secret not in repr(settings)
    assert "pa55" not in repr(Settings(database_url="postgresql://u:pa55@h/d"))


def test_settings_do_not_change_while_a_process_runs():
    with pytest.raises(ValidationError):
        setattr(Settings(), "s3_bucket", "other")  # noqa: B010 - a type checker refuses the assignment too


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s" * 40 + "\n")
    return path


def test_a_secret_may_be_in_a_file(monkeypatch, secret_file):
    monkeypatch.setenv("GRAYLAG_HMAC_SECRET_FILE", str(secret_file))
    assert Settings().hmac_secret == SecretStr("s" * 40)
    assert Settings(hmac_secret="a" * 32).hmac_secret == SecretStr("a" * 32)


def test_a_value_from_a_file_is_validated_in_the_same_way(monkeypatch, tmp_path):
    (tmp_path / "short").write_text("short")
    (tmp_path / "list").write_text('["hmac", "access"]\n')
    monkeypatch.setenv("GRAYLAG_DEVICE_AUTH_FILE", str(tmp_path / "list"))
    assert Settings().device_auth == ["hmac", "access"]
    monkeypatch.setenv("GRAYLAG_HMAC_SECRET_FILE", str(tmp_path / "short"))
    with pytest.raises(ValidationError, match="hmac_secret"):
        Settings()


def test_a_value_and_a_file_for_the_same_setting_are_refused(monkeypatch, secret_file):
    monkeypatch.setenv("GRAYLAG_HMAC_SECRET_FILE", str(secret_file))
    monkeypatch.setenv("GRAYLAG_HMAC_SECRET", "t" * 40)
    with pytest.raises(SettingsError, match="both set"):
        Settings()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * (MAX_FILE_BYTES + 1)])
def test_an_unreadable_file_stops_the_start_and_its_content_is_not_shown(monkeypatch, tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("GRAYLAG_HMAC_SECRET_FILE", str(path))
    with pytest.raises(SettingsError, match="GRAYLAG_HMAC_SECRET_FILE") as error:
        Settings()
    assert "xxx" not in str(error.value)


def test_an_empty_file_name_counts_as_unset(monkeypatch):
    monkeypatch.setenv("GRAYLAG_HMAC_SECRET_FILE", "")
    assert Settings().hmac_secret is None
