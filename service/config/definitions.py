"""Settings: one class, one sentence per field, read from `GRAYLAG_*` variables only.

A variable may name a file instead, as secrets of Docker and Kubernetes are provided:
`GRAYLAG_HMAC_SECRET_FILE=/run/secrets/hmac`. Then no secret is in an environment that every child process and every
`inspect` can read.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.config.files import PREFIX, FileSettingsSource

_RATE_LIMIT = r"^(off|[1-9][0-9]{0,8}/(second|minute|hour))$"


class Settings(BaseSettings):
    """Everything that differs between deployments.

    The URI of a key is `file:/path/to/key.pem`, `env:NAME` (a variable that contains a PEM), or that of a key store. Give every
    process only the keys of its role: the director's to the API, the patcher's to delta workers, the publisher's to the
    signing worker.
    """

    # An invalid value may be a secret, so messages must not show it.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: str = Field(
        default="postgresql+psycopg://graylag@127.0.0.1:5432/graylag",
        repr=False,  # it may contain a password
        description="URL of PostgreSQL: `postgresql://user:password@host:port/database`.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of Valkey or Redis, which carries Celery messages, used nonces and rate limits.",
    )
    s3_endpoint: str | None = Field(
        default=None, description="URL of the S3 API for the servers; empty for AWS."
    )
    s3_public_endpoint: str | None = Field(
        default=None,
        description="URL of the S3 API for devices and CI, used in presigned URLs; empty for the same as `GRAYLAG_S3_ENDPOINT`.",
    )
    s3_bucket: str = Field(default="graylag", description="Bucket for weights, patches and manifests.")
    s3_region: str = Field(
        default="us-east-1", description="Region of the bucket; every S3 signature contains it."
    )
    s3_access_key: SecretStr | None = Field(
        default=None, description="S3 access key; empty for the role of the machine."
    )
    s3_secret_key: SecretStr | None = Field(
        default=None, description="S3 secret key; empty for the role of the machine."
    )

    director_key: str | None = Field(
        default=None, description="URI of the key that signs directives; for API processes only."
    )
    patcher_key: str | None = Field(
        default=None,
        description="URI of the key that signs patch descriptors; for workers of the `delta` queue only.",
    )
    publisher_key: str | None = Field(
        default=None,
        description="URI of the key that signs manifests; for the worker of the `signing` queue only.",
    )
    access_token_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret of at least 32 bytes that signs access tokens of devices; for API processes only.",
    )
    access_token_ttl_s: int = Field(
        default=3600, ge=60, le=86400, description="Lifetime of an access token, in seconds."
    )
    device_auth: list[Literal["access", "device_key", "idp", "hmac"]] = Field(
        default=["access", "device_key"],
        min_length=1,
        description="How devices may authenticate, as a JSON list of `access` (access token from enrollment), `device_key` (every "
        "request signed), `idp` (token of the app's identity provider) and `hmac` (shared secret).",
    )
    hmac_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret of at least 32 bytes that the secrets of `hmac` devices are derived from; for API processes only.",
    )
    idp_jwks_url: str | None = Field(
        default=None,
        pattern="^https://",
        description="HTTPS address of the public keys (JWKS) of the identity provider for the `idp` mode.",
    )
    idp_issuer: str | None = Field(
        default=None, description="The `iss` that tokens of the identity provider must have."
    )
    idp_audience: str | None = Field(
        default=None, description="The only `aud` that tokens of the identity provider may have."
    )
    idp_device_claim: str = Field(default="sub", description="Claim that contains the device id.")
    idp_attributes_claim: str | None = Field(
        default=None, description="Claim that contains the device's attributes as an object; empty for none."
    )
    idp_ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificate authorities to trust for identity providers, besides those of the system.",
    )
    idp_auto_enroll: bool = Field(
        default=False,
        description="Whether the first request with a valid token of the identity provider enrolls the device.",
    )
    ci_jwks_url: str | None = Field(
        default=None,
        pattern="^https://",
        description="HTTPS address of the public keys (JWKS) of your CI's identity provider.",
    )
    ci_issuer: str | None = Field(default=None, description="The `iss` that identity tokens of CI must have.")
    ci_audience: str | None = Field(
        default=None,
        description="The only `aud` that identity tokens of CI may have; choose one for this server.",
    )
    ci_repository_ids: list[str] = Field(
        default=[],
        description="Ids (claim `repository_id`) of the repositories whose CI may publish, as a JSON list of strings.",
    )
    rate_limit_per_device: str = Field(
        default="600/minute",
        pattern=_RATE_LIMIT,
        description="Limit on the polls and events of one device: `NUMBER/second`, `NUMBER/minute`, `NUMBER/hour` or `off`.",
    )
    rate_limit_per_address: str = Field(
        default="60000/minute",
        pattern=_RATE_LIMIT,
        description="Limit on the device requests of one IP address, in the same form; a whole network may share one address.",
    )
    auto_accept_devices: bool = Field(
        default=True,
        description="Whether a device with a valid enrollment token is accepted at once; otherwise an operator accepts it.",
    )

    poll_interval_s: int = Field(
        default=21600,
        ge=1,
        le=86400,
        description="Time between two polls of a device, in seconds; the default is six hours.",
    )
    staged_poll_interval_s: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="Longest time between two polls of a device that waits for `graylag rollout activate`, in seconds.",
    )
    patch_wait_s: int = Field(
        default=600,
        ge=0,
        description="How long a device waits for a patch before it gets the full file, in seconds; 0 for not at all.",
    )
    attempt_lease_s: int = Field(
        default=86400,
        ge=10,
        description="How long a device may send no event about an attempt before the attempt counts as timed out, in seconds.",
    )
    max_failures_per_version: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How often a version may fail on a device before the device gets no more offers until something changes.",
    )
    download_url_ttl_s: int = Field(
        default=900, ge=60, le=604800, description="Lifetime of a download URL, in seconds."
    )
    snapshot_interval_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="How often an API process checks for changed rollouts, in seconds.",
    )
    gate_interval_s: float = Field(
        default=5.0, gt=0, le=3600, description="How often a scheduled task evaluates all gates, in seconds."
    )
    gate_check_delay_s: float = Field(
        default=0.5,
        gt=0,
        le=3600,
        description="Time from an event that may decide a gate to its evaluation in the API process, in seconds.",
    )
    sweep_interval_s: float = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="How often lost jobs and silent attempts are looked for, in seconds.",
    )
    webhook_interval_s: float = Field(
        default=2.0, gt=0, le=3600, description="How often due webhook messages are looked for, in seconds."
    )
    webhook_allow_private: bool = Field(
        default=False,
        description="Whether webhooks may use plain HTTP and private addresses; for development.",
    )
    job_lease_s: int = Field(
        default=90,
        ge=3,
        description="How long a running job may be silent before another worker takes it, in seconds.",
    )

    upload_part_bytes: int = Field(
        default=16 * 2**20,
        ge=5 * 2**20,
        le=2**30,
        description="Part size of multipart uploads, in bytes; the default is 16 MiB.",
    )
    max_component_bytes: int = Field(
        default=64 * 2**30,
        ge=1,
        description="Largest component that may be published, in bytes; the default is 64 GiB.",
    )
    patch_bases: int = Field(
        default=3,
        ge=0,
        le=50,
        description="From how many earlier versions patches are built when a version is published; 0 for none.",
    )
    max_patches_per_version: int = Field(
        default=24,
        ge=0,
        le=1000,
        description="How many patches to one version are built in total as devices need them; 0 for none after publishing.",
    )
    patch_plan_interval_s: float = Field(
        default=30.0, gt=0, le=3600, description="How often the patch planner runs, in seconds."
    )
    patch_threads: int = Field(default=2, ge=1, le=64, description="How many threads encode one patch.")
    scratch_dir: Path | None = Field(
        default=None, description="Directory for temporary files of workers; empty for that of the system."
    )

    drain_s: float = Field(
        default=0,
        ge=0,
        le=60,
        description="How long a stopping API process reports 503 at `/ready` and still answers requests, in seconds; 0 for no "
        "wait.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses of proxies whose X-Forwarded-For header is trusted, separated by commas.",
    )
    log_format: str = Field(
        default="json", pattern="^(json|console)$", description="`json` for machines, `console` for people."
    )
    log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="Lowest level that is logged: `debug`, `info`, `warning` or `error`.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then variables, then the files that variables name."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, FileSettingsSource(settings_cls)

    @property
    def device_hmac_key(self) -> bytes | None:
        """The key that the secrets of `hmac` devices are derived from; None if they may not authenticate."""
        if self.hmac_secret is None or "hmac" not in self.device_auth:
            return None
        return self.hmac_secret.get_secret_value().encode()

    @field_validator("database_url")
    @classmethod
    def _with_driver(cls, url: str) -> str:
        """Accept `postgresql://` as other tools do, and select the driver."""
        scheme, _, rest = url.partition("://")
        if scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
            raise ValueError("must have the form postgresql://user:password@host:port/database")
        return f"postgresql+psycopg://{rest}"


@cache
def settings() -> Settings:
    """The settings of this process; read once."""
    return Settings()
