"""Tokens: API tokens of people and machines; JWTs and HMAC signatures of devices, apps and CI."""

from service.infrastructure.tokens.access_tokens import ACCESS_JWT_TYPE, AccessTokens, DeviceClaims
from service.infrastructure.tokens.api_tokens import Caller, new_secret, secret_hash
from service.infrastructure.tokens.device_assertions import (
    DEVICE_ASSERTION_TYPE,
    MAX_ASSERTION_LIFETIME_S,
    verify_device_assertion,
)
from service.infrastructure.tokens.device_keys import verifier_for
from service.infrastructure.tokens.hmac_requests import derive_device_secret, request_mac
from service.infrastructure.tokens.jws import Jwt, parse_jwt, unverified_subject
from service.infrastructure.tokens.jwt_claims import AUDIENCE, CLOCK_SKEW_S, MAX_TOKEN_CHARS, token_id
from service.infrastructure.tokens.provider_tokens import (
    ProviderKey,
    ProviderRules,
    device_from_claims,
    parse_key_set,
    verify_provider_token,
)
from service.infrastructure.tokens.request_binding import RequestBinding

__all__ = [
    "ACCESS_JWT_TYPE",
    "AUDIENCE",
    "CLOCK_SKEW_S",
    "DEVICE_ASSERTION_TYPE",
    "MAX_ASSERTION_LIFETIME_S",
    "MAX_TOKEN_CHARS",
    "AccessTokens",
    "Caller",
    "DeviceClaims",
    "Jwt",
    "ProviderKey",
    "ProviderRules",
    "RequestBinding",
    "derive_device_secret",
    "device_from_claims",
    "new_secret",
    "parse_jwt",
    "parse_key_set",
    "request_mac",
    "secret_hash",
    "token_id",
    "unverified_subject",
    "verifier_for",
    "verify_device_assertion",
    "verify_provider_token",
]
