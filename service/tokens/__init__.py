"""Credentials: opaque secrets of people and machines, and JWTs of devices, apps and CI."""

from service.tokens.access import ACCESS_TYPE, AccessTokens, DeviceClaims
from service.tokens.assertions import (
    ASSERTION_SPAN_S,
    DEVICE_TYPE,
    Binding,
    derived_secret,
    request_mac,
    verify_assertion,
)
from service.tokens.compact import Jwt, read, unverified_subject
from service.tokens.device_keys import check_of
from service.tokens.opaque import Caller, Clock, new_secret, secret_hash, utc_now
from service.tokens.providers import (
    ProviderKey,
    ProviderRules,
    device_of,
    provider_keys,
    verify_provider_token,
)
from service.tokens.reading import AUDIENCE, CLOCK_SKEW_S, MAX_TOKEN, unique_id

__all__ = [
    "ACCESS_TYPE",
    "ASSERTION_SPAN_S",
    "AUDIENCE",
    "CLOCK_SKEW_S",
    "DEVICE_TYPE",
    "MAX_TOKEN",
    "AccessTokens",
    "Binding",
    "Caller",
    "Clock",
    "DeviceClaims",
    "Jwt",
    "ProviderKey",
    "ProviderRules",
    "check_of",
    "derived_secret",
    "device_of",
    "new_secret",
    "provider_keys",
    "read",
    "request_mac",
    "secret_hash",
    "unique_id",
    "unverified_subject",
    "utc_now",
    "verify_assertion",
    "verify_provider_token",
]
