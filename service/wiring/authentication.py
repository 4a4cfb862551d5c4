"""Builds the authentication of devices and of CI from the settings."""

from service.config import Settings
from service.errors import ServiceError
from service.infrastructure.tokens import AccessTokens, ProviderRules
from service.operations.platform import workload_identity
from service.serving.auth.credentials import DatabaseCredentials
from service.serving.auth.device_auth import DeviceAuth, IdentityProvider
from service.serving.auth.provider_keys import ProviderKeys, key_set_fetcher
from service.serving.auth.replay_cache import ReplayCache

MAX_CI_TOKEN_LIFETIME_S = 3600


def build_access_tokens(settings: Settings) -> AccessTokens:
    """The issuer and verifier of access tokens.

    Raises:
        ServiceError: the secret is not set.
    """
    if settings.access_token_secret is None:
        raise ServiceError(
            "the API has no secret for access tokens; set GRAYLAG_ACCESS_TOKEN_SECRET to at least 32 random bytes"
        )
    secret = settings.access_token_secret.get_secret_value().encode()
    return AccessTokens(secret, settings.access_token_ttl_s)


def build_device_auth(
    settings: Settings,
    credentials: DatabaseCredentials,
    replay_cache: ReplayCache,
    access_tokens: AccessTokens,
) -> DeviceAuth:
    """The authentication of devices, in the modes that are turned on.

    Raises:
        ServiceError: a mode lacks a setting.
    """
    secret = settings.hmac_secret
    if "hmac" in settings.device_auth and secret is None:
        raise ServiceError("GRAYLAG_DEVICE_AUTH contains hmac; set GRAYLAG_HMAC_SECRET, too")
    return DeviceAuth(
        modes=frozenset(settings.device_auth),
        access_tokens=access_tokens,
        credentials=credentials,
        replay_cache=replay_cache,
        hmac_secret=secret.get_secret_value().encode() if secret else b"",
        provider=_device_provider(settings),
    )


def _device_provider(settings: Settings) -> IdentityProvider | None:
    if "idp" not in settings.device_auth:
        return None
    if not (settings.idp_jwks_url and settings.idp_issuer and settings.idp_audience):
        raise ServiceError(
            "GRAYLAG_DEVICE_AUTH contains idp; "
            "set GRAYLAG_IDP_JWKS_URL, GRAYLAG_IDP_ISSUER and GRAYLAG_IDP_AUDIENCE, too"
        )
    rules = ProviderRules(
        issuer=settings.idp_issuer,
        audience=settings.idp_audience,
        device_claim=settings.idp_device_claim,
        attributes_claim=settings.idp_attributes_claim,
    )
    keys = ProviderKeys(key_set_fetcher(settings.idp_jwks_url, settings.idp_ca_file))
    return IdentityProvider(keys, rules, settings.idp_auto_enroll)


def build_ci_provider(settings: Settings) -> IdentityProvider | None:
    """The identity provider of CI; None if it is not configured."""
    if not (settings.ci_jwks_url and settings.ci_issuer and settings.ci_audience):
        return None
    rules = ProviderRules(
        settings.ci_issuer,
        settings.ci_audience,
        workload_identity.REPOSITORY_CLAIM,
        max_lifetime_s=MAX_CI_TOKEN_LIFETIME_S,
    )
    keys = ProviderKeys(key_set_fetcher(settings.ci_jwks_url, settings.idp_ca_file))
    return IdentityProvider(keys, rules, auto_enroll=False)
