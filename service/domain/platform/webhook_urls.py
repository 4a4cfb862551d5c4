"""URLs of webhooks: checks against SSRF, and redaction."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from service.errors import InvalidWebhook

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?\Z")
_PRIVATE_NAMES = (".localhost", ".local", ".internal")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse URLs that do not lead to the public internet; names are resolved and checked before each message.

    Args:
        url: URL of the webhook.
        allow_private: allow plain http and private addresses, for development.

    Raises:
        InvalidWebhook: the URL is refused; the message says what to change.
    """
    parts = _split(url)
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise InvalidWebhook(
            "the URL must use https; for development, set GRAYLAG_WEBHOOK_ALLOW_PRIVATE", field="url"
        )
    if parts.username is not None or parts.fragment or not _is_plain(url):
        raise InvalidWebhook("the URL must be printable ASCII without a user and a fragment", field="url")
    host = parts.hostname or ""
    is_address = _is_address(host)
    if not is_address and not _HOST.match(host):
        raise InvalidWebhook("the URL must contain a host name or an address", field="url")
    if not allow_private and (is_private(host) if is_address else _is_private_name(host)):
        raise InvalidWebhook(
            "the URL leads to a private network; for development, set GRAYLAG_WEBHOOK_ALLOW_PRIVATE",
            field="url",
        )


def is_private(address: str) -> bool:
    """Return whether an IP address is outside the public internet, including IPv4 addresses embedded in IPv6."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_private(str(parsed.ipv4_mapped))
        if parsed.sixtofour is not None or parsed.teredo is not None or parsed in _NAT64:
            return True
    return not parsed.is_global or parsed.is_multicast or parsed.is_reserved


def redacted_url(url: str) -> str:
    """Return a URL without its path and query, since many services put a token there."""
    parts = urlsplit(url)
    has_path = (parts.path, parts.query) not in {("", ""), ("/", "")}
    return f"{parts.scheme}://{parts.netloc}/..." if has_path else url


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port  # these are parsed, and may fail, when they are read
    except ValueError as error:
        raise InvalidWebhook(f"this is not a URL: {error}", field="url") from error
    return parts


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _is_private_name(host: str) -> bool:
    return host in {"localhost", "localhost."} or host.endswith(_PRIVATE_NAMES)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
