"""Sends webhooks, with protection against server-side request forgery.

The owner of a webhook chooses its address, and could make this server send requests into its own network. So a host name is
resolved once, all its addresses must be public, and the connection goes to one of those very addresses: changing the DNS
record in between has no effect. No redirects, no proxy from the environment, nothing of the response but its status, and one
deadline over everything.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx2

from service.domain.platform.webhook_urls import check_url, is_private
from service.errors import InvalidWebhook, ServiceError

DEADLINE_S = 15.0
MAX_ADDRESSES = 3
"""How many addresses of a host to try until one accepts the connection."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class WebhookNotDelivered(ServiceError):
    """A message was not delivered; the next attempt may succeed."""

    code, status, title = "webhook_failed", 502, "Webhook not delivered"


class WebhookGone(WebhookNotDelivered):
    """The receiver wants no more messages."""

    code, title = "webhook_gone", "Webhook gone"


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, from the system's resolver."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Sends messages to webhooks.

    Attributes:
        allow_private: whether plain HTTP and private addresses are allowed.
        resolve: resolves a host name.
        tls: the trusted certificate authorities; None for those of the system.
        deadline_s: how long one delivery may take in total.
    """

    allow_private: bool = False
    resolve: Resolve = resolve_host
    tls: ssl.SSLContext | None = None
    deadline_s: float = DEADLINE_S

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """POST a message; return the status, which is 2xx.

        Raises:
            WebhookGone: the receiver responded with 410.
            WebhookNotDelivered: the delivery failed in any other way, or took longer than `deadline_s`.
        """
        try:
            check_url(url, allow_private=self.allow_private)
            status = asyncio.run(asyncio.wait_for(self._send(url, body, headers), self.deadline_s))
        except InvalidWebhook as error:
            raise WebhookNotDelivered(error.detail) from error
        except TimeoutError as error:
            raise WebhookNotDelivered(f"no response within {self.deadline_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise WebhookNotDelivered(f"{type(error).__name__}: {error}"[:200]) from error
        if status == httpx2.codes.GONE:
            raise WebhookGone("the receiver responded with 410 Gone; it wants no more messages")
        if not 200 <= status < 300:
            raise WebhookNotDelivered(f"the receiver responded with {status}")
        return status

    async def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        target = httpx2.URL(url)
        port = target.port or (443 if target.scheme == "https" else 80)
        addresses = await self.resolve(target.host, port)
        if not self.allow_private and any(is_private(address) for address in addresses):
            raise WebhookNotDelivered(f"{target.host} resolves to a private address")
        failure: httpx2.HTTPError = httpx2.ConnectError(f"{target.host} has no address")
        async with httpx2.AsyncClient(
            timeout=self.deadline_s, follow_redirects=False, trust_env=False, verify=self.tls or True
        ) as client:
            for address in addresses[:MAX_ADDRESSES]:
                request = client.build_request(
                    "POST",
                    target.copy_with(host=address),
                    content=body,
                    headers={**headers, "host": target.netloc.decode("ascii"), "user-agent": "graylag"},
                    extensions={"sni_hostname": target.host},
                )
                try:
                    response = await client.send(request, stream=True)
                except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                    failure = error
                else:
                    await response.aclose()
                    return response.status_code
        raise failure
