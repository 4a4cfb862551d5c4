"""What webhooks are told, how a message is signed, and which addresses are nobody's business of ours.

Signatures follow Standard Webhooks 1.0.0 (www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from service.domain.rollouts import VERBS
from service.errors import InvalidWebhook

SECRET_BYTES = 32
_PREFIX = "whsec_"
TEST = "webhook.test"
_BESIDE_VERBS = ("created", "changed", "hold_stratum", "release")
KINDS = frozenset(f"rollout.{word}" for word in (*_BESIDE_VERBS, *VERBS))
"""What there is to hear of: `rollout.` and the word under which it stands in a rollout's history."""

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?\Z")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def new_secret() -> str:
    """A secret to sign with, as the standard writes it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def wants(kinds: Collection[str], kind: str) -> bool:
    """Whether somebody who asked for `kinds` is to be told of `kind`; no kinds are all of them."""
    return not kinds or kind in kinds or kind == TEST


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuse what never happens.

    Raises:
        InvalidWebhook: `field` is the place in the list.
    """
    for index, kind in enumerate(kinds):
        if kind not in KINDS:
            raise InvalidWebhook(f"{kind!r} is none of {', '.join(sorted(KINDS))}", field=f"kinds.{index}")


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse addresses that nobody outside could mean; names are looked up again before each message.

    Args:
        url: where messages are to go.
        allow_private: plain http and addresses of the inner network are meant, as in development.

    Raises:
        InvalidWebhook: what to change.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidWebhook(f"no URL: {error}", field="url") from error
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise InvalidWebhook("https only; see GRAYLAG_WEBHOOK_PRIVATE", field="url")
    if (
        parts.username is not None
        or parts.fragment
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise InvalidWebhook("no user, no fragment, printable ASCII only", field="url")
    address = _address(host)
    if address is None and not _HOST.match(host):
        raise InvalidWebhook("a host name or an address", field="url")
    inner = host in {"localhost", "localhost."} or host.endswith((".localhost", ".local", ".internal"))
    if not allow_private and (inner or (address is not None and is_private(host))):
        raise InvalidWebhook("an address of the inner network; see GRAYLAG_WEBHOOK_PRIVATE", field="url")


def origin_of(url: str) -> str:
    """An address without what may be a secret in it: many services put a token into the path."""
    parts = urlsplit(url)
    return (
        f"{parts.scheme}://{parts.netloc}/..."
        if (parts.path, parts.query) not in {("", ""), ("/", "")}
        else url
    )


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public internet, in whatever notation of version 6 it hides."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_private(str(found.ipv4_mapped))
        if found.sixtofour is not None or found.teredo is not None or found in _NAT64:
            return True
    return not found.is_global or found.is_multicast or found.is_reserved


def body_of(event: Mapping[str, Any]) -> bytes:
    """The bytes of a message."""
    return json.dumps(event, separators=(",", ":"), sort_keys=True).encode()


def headers_of(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message, signed with each of the secrets.

    Args:
        keys: secrets as `new_secret` writes them, newest first.
        message_id: the same for every attempt.
        timestamp: of this attempt, in seconds since 1970.
        body: exactly the bytes that are sent.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [_signature(key, signed) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
        "content-type": "application/json",
    }


def _signature(key: str, signed: bytes) -> str:
    digest = hmac.digest(base64.b64decode(key.removeprefix(_PREFIX)), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None
