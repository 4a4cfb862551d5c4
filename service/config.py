"""Settings: one class, one sentence per field, read from `GRAYLAG_*` variables and nowhere else.

A variable may name a file instead: `GRAYLAG_HMAC_SECRET_FILE=/run/secrets/hmac`, as the secrets of Docker and Kubernetes
come, so that none of them stands in an environment that every child process and every `inspect` can see.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

PREFIX = "GRAYLAG_"
MAX_FILE = 64 * 1024
"""Bound of a file that holds one setting, bytes: a device or a log named by mistake is not read to its end."""
_RATE = r"^(off|[1-9][0-9]{0,8}/(second|minute|hour))$"


class SettingsFiles(PydanticBaseSettingsSource):
    """Settings whose variable, with `_FILE` behind its name, names a file that holds the value."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """What the file says, without the line feeds at its end; None where there is no such variable.

        Raises:
            SettingsError: the file cannot be read, or the value is given twice.
        """
        name = PREFIX + field_name.upper()
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set; which one counts?")
        return _content(Path(path), f"{name}_FILE"), field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        """All values that come from files."""
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, structured = self.get_field_value(field, name)
            if value:
                found[name] = self.prepare_field_value(name, field, value, structured)
        return found


def _content(path: Path, variable: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: {path} cannot be read: {type(error).__name__}") from error
    if len(data) > MAX_FILE:
        raise SettingsError(f"{variable}: {path} is longer than {MAX_FILE} bytes")
    return text.rstrip("\r\n")


class Settings(BaseSettings):
    """Everything that differs between one deployment and another.

    A key is given as a URI: `file:/path/to/key.pem` or `env:NAME` (a PEM in another variable). Each
    process gets only the keys of its role: the API the director's, delta workers the patcher's, the
    signing worker the publisher's.
    """

    # What is refused may be a secret: a message names it and never shows it.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: str = Field(
        default="postgresql+psycopg://graylag@127.0.0.1:5432/graylag",
        repr=False,  # it may hold a password
        description="PostgreSQL, as `postgresql://user:password@host:port/database`.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Valkey or Redis: carries Celery's messages, nonces and rate limits.",
    )
    s3_endpoint: str | None = Field(
        default=None, description="S3 endpoint as the servers reach it; empty for AWS itself."
    )
    s3_public_endpoint: str | None = Field(
        default=None, description="S3 endpoint as devices and CI reach it; presigned URLs name this host."
    )
    s3_bucket: str = Field(default="graylag", description="The bucket that holds weights and patches.")
    s3_region: str = Field(default="us-east-1", description="Region name; part of every S3 signature.")
    s3_access_key: SecretStr | None = Field(
        default=None, description="S3 access key; empty to use the machine's own role."
    )
    s3_secret_key: SecretStr | None = Field(default=None, description="S3 secret key.")

    director_key: str | None = Field(default=None, description="Key URI for directives. API only.")
    patcher_key: str | None = Field(
        default=None, description="Key URI for patch descriptors. Delta workers only."
    )
    publisher_key: str | None = Field(
        default=None, description="Key URI for manifests. The `signing` queue's worker only."
    )
    access_token_secret: SecretStr | None = Field(
        default=None, min_length=32, description="32 bytes or more; signs device access tokens. API only."
    )
    access_token_ttl_s: int = Field(default=3600, ge=60, le=86400, description="Life of an access token.")
    device_auth: list[Literal["access", "device_key", "idp", "hmac"]] = Field(
        default=["access", "device_key"],
        min_length=1,
        description="How devices may prove who they are, as a JSON list: `access` (token from enrolment), `device_key` "
        "(each request signed), `idp` (tokens of the app's own identity provider), `hmac` (shared secret).",
    )
    hmac_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="32 bytes or more; the secrets of `hmac` devices are derived from it. API only.",
    )
    idp_jwks_url: str | None = Field(
        default=None,
        pattern="^https://",
        description="Where the identity provider of the `idp` mode publishes its keys; https only.",
    )
    idp_issuer: str | None = Field(default=None, description="The `iss` that its tokens must have.")
    idp_audience: str | None = Field(default=None, description="The one `aud` that its tokens must have.")
    idp_device_claim: str = Field(default="sub", description="The claim that names the device.")
    idp_attributes_claim: str | None = Field(
        default=None, description="The claim that holds facts about the device, an object; empty for none."
    )
    idp_ca_file: Path | None = Field(
        default=None,
        description="PEM of authorities, besides the system's, that may vouch for the servers of identity providers.",
    )
    idp_enrol: bool = Field(
        default=False, description="Let a device in at its first request with a good token of the provider."
    )
    ci_jwks_url: str | None = Field(
        default=None,
        pattern="^https://",
        description="Where the identity provider of your CI publishes its keys; https only.",
    )
    ci_issuer: str | None = Field(default=None, description="The `iss` that identity tokens of CI must have.")
    ci_audience: str | None = Field(
        default=None,
        description="The one `aud` that identity tokens of CI must have; choose one for this server.",
    )
    ci_repository_ids: list[str] = Field(
        default=[],
        description="The numbers (`repository_id`) of the repositories whose CI may publish, as a JSON list.",
    )
    rate_per_device: str = Field(
        default="600/minute",
        pattern=_RATE,
        description="How often one device may poll and report, as `NUMBER/second`, `/minute`, `/hour`, or `off`.",
    )
    rate_per_address: str = Field(
        default="60000/minute",
        pattern=_RATE,
        description="The same for everything that devices ask from one address; a whole network may stand behind it.",
    )
    auto_accept: bool = Field(
        default=True, description="Accept a device at once when its enrolment token is good."
    )

    poll_interval_s: int = Field(default=21600, ge=1, le=86400, description="Pause between two polls.")
    held_poll_s: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="Longest pause of devices that wait for `graylag rollout activate`; no longer than the usual one.",
    )
    patch_wait_s: int = Field(
        default=600, ge=0, description="How long devices wait for a patch in the making before the full file."
    )
    attempt_lease_s: int = Field(
        default=86400, ge=10, description="Silence after which an offered update counts as timed out."
    )
    penalty_failures: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Failures of a version after which a device is left alone until something changes.",
    )
    download_url_ttl_s: int = Field(default=900, ge=60, le=604800, description="Life of a download URL.")
    snapshot_check_s: float = Field(
        default=1.0, gt=0, le=60, description="How often an API process looks for changed rollouts."
    )
    rollout_tick_s: float = Field(default=5.0, gt=0, le=3600, description="How often gates are evaluated.")
    brakes_pause_s: float = Field(
        default=0.5,
        gt=0,
        le=3600,
        description="Pause from a report that may decide a gate to the look at it, in the API process that took it in.",
    )
    sweep_tick_s: float = Field(
        default=15.0, gt=0, le=3600, description="How often lost jobs and silent attempts are looked for."
    )
    webhook_tick_s: float = Field(
        default=2.0, gt=0, le=3600, description="How often messages to webhooks are looked for."
    )
    webhook_private: bool = Field(
        default=False,
        description="Let webhooks be called over plain http and inside the inner network; for development.",
    )
    job_lease_s: int = Field(
        default=90, ge=3, description="Silence after which a running job is given to another worker."
    )

    upload_part_bytes: int = Field(
        default=16 * 2**20, ge=5 * 2**20, le=2**30, description="Part size of multipart uploads."
    )
    max_component_bytes: int = Field(
        default=64 * 2**30, ge=1, description="Largest component that may be published."
    )
    patch_bases: int = Field(
        default=3, ge=0, le=50, description="How many earlier versions get a patch to each new one."
    )
    patch_limit: int = Field(
        default=24,
        ge=0,
        le=1000,
        description="How many patches to one version are made at most, as devices turn out to need them; 0 for no more "
        "than at publishing.",
    )
    patch_plan_tick_s: float = Field(
        default=30.0, gt=0, le=3600, description="How often the plan of patches is made anew."
    )
    patch_threads: int = Field(default=2, ge=1, le=64, description="Cores that encode one patch.")
    scratch_dir: Path | None = Field(
        default=None, description="Where workers keep temporary files; empty for the system's place."
    )

    drain_s: float = Field(
        default=0,
        ge=0,
        le=60,
        description="How long an API process that was told to stop says at `/ready` that it is going, and still answers.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1", description="Addresses whose X-Forwarded-For is believed, comma separated."
    )
    log_format: str = Field(
        default="json", pattern="^(json|console)$", description="`json` for machines, `console` for people."
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="Least level.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the files that variables name."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, SettingsFiles(settings_cls)

    @field_validator("database_url")
    @classmethod
    def _with_driver(cls, url: str) -> str:
        """Take the plain `postgresql://` that other tools use, too."""
        scheme, _, rest = url.partition("://")
        if scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
            raise ValueError("it has to look like postgresql://user:password@host:port/database")
        return f"postgresql+psycopg://{rest}"


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
