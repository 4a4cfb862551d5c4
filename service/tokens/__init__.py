"""Tokens: API tokens of people and machines; JWTs and HMAC signatures of devices, apps and CI."""

from service.tokens.access_tokens import ACCESS_JWT_TYPE, AccessTokens, DeviceClaims
from service.tokens.api_tokens import Caller, new_secret, secret_hash
from service.tokens.device_assertions import (
    DEVICE_ASSERTION_TYPE,
    MAX_ASSERTION_LIFETIME_S,
    verify_device_assertion,
)
from service.tokens.device_keys import verifier_for
from service.tokens.hmac_requests import derive_device_secret, request_mac
from service.tokens.jws import Jwt, parse_jwt, unverified_subject
from service.tokens.jwt_claims import AUDIENCE, CLOCK_SKEW_S, MAX_TOKEN_CHARS, token_id
from service.tokens.provider_tokens import (
    ProviderKey,
    ProviderRules,
    device_from_claims,
    parse_key_set,
    verify_provider_token,
)
from service.tokens.request_binding import RequestBinding

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
