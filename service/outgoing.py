"""Messages to addresses that somebody else has chosen.

Whoever may name a webhook could otherwise make this server speak to its own inner network. So a name is looked
up once, all its addresses must be public, and the connection goes to the very address that was looked at: a name
that changes its mind between the look and the connection gains nothing. No redirects, no proxy of the
environment's choice, nothing of the answer but its status, one deadline over all of it.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx2

from service.domain.webhooks import check_url, is_private
from service.errors import InvalidWebhook, ServiceError

DEADLINE_S = 15.0
MAX_ADDRESSES = 3
"""How many of a name's addresses are tried while the ones before do not take the connection."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NotDelivered(ServiceError):
    """A message did not arrive; it may at the next attempt."""

    code, status, title = "webhook_failed", 502, "Webhook not delivered"


class Gone(NotDelivered):
    """The other side wants no more messages."""

    code, title = "webhook_gone", "Webhook gone"


async def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system gives them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Post:
    """How messages leave.

    Attributes:
        allow_private: plain http and the inner network are meant.
        resolve: looks a name up.
        tls: whom to believe; None for the system's authorities.
        deadline_s: how long all of it may take.
    """

    allow_private: bool = False
    resolve: Resolve = look_up
    tls: ssl.SSLContext | None = None
    deadline_s: float = DEADLINE_S

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """POST a message; its status, which is one of success.

        Raises:
            Gone: the other side said 410.
            NotDelivered: anything else but success, in at most `deadline_s`.
        """
        try:
            check_url(url, allow_private=self.allow_private)
            status = asyncio.run(asyncio.wait_for(self._send(url, body, headers), self.deadline_s))
        except InvalidWebhook as error:
            raise NotDelivered(error.detail) from error
        except TimeoutError as error:
            raise NotDelivered(f"no answer within {self.deadline_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise NotDelivered(f"{type(error).__name__}: {error}"[:200]) from error
        if status == httpx2.codes.GONE:
            raise Gone("the other side answered 410: it wants no more messages")
        if not 200 <= status < 300:
            raise NotDelivered(f"the other side answered {status}")
        return status

    async def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        target = httpx2.URL(url)
        port = target.port or (443 if target.scheme == "https" else 80)
        addresses = await self.resolve(target.host, port)
        if not self.allow_private and any(is_private(address) for address in addresses):
            raise NotDelivered(f"{target.host} is an address of the inner network")
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
                    answer = await client.send(request, stream=True)
                except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                    failure = error
                else:
                    await answer.aclose()
                    return answer.status_code
        raise failure
