"""Asked beside the load, on connections of their own: is it alive, ready, what does an operator see, how big is it."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from service.cli.bench.overload.tally import percentiles_ms
from service.cli.bench.sockets import rss_now_mb

EVERY_S = 0.25
PATIENCE_S = 5.0
"""A probe of Kubernetes waits one second, one of Docker thirty: in between."""


@dataclass(slots=True)
class Look:
    """Probes of one path.

    Attributes:
        took_s: of those that were answered with 200.
        failed: status, or what went wrong, of the others.
    """

    took_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def told(self) -> dict[str, object]:
        """As it is shown."""
        p50, p99 = percentiles_ms(self.took_s)
        kinds = {kind: self.failed.count(kind) for kind in sorted(set(self.failed))}
        return {"good": len(self.took_s), "bad": kinds, "p50_ms": p50, "p99_ms": p99}


class Probes:
    """Looks at one process until cancelled."""

    def __init__(self, pid: int, port: int, paths: dict[str, str]) -> None:
        """Ask these paths; the values are tokens of operators, or empty."""
        self._pid, self._port, self._paths = pid, port, paths
        self.looks = {path: Look() for path in paths}
        self.rss_mb: list[float] = []

    async def run(self) -> None:
        """All paths at the same time, and the memory, again and again."""
        with suppress(FileNotFoundError, StopIteration):
            while True:
                self.rss_mb.append(rss_now_mb(self._pid))
                await asyncio.gather(
                    asyncio.sleep(EVERY_S), *(self._look(path, token) for path, token in self._paths.items())
                )

    async def _look(self, path: str, token: str) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = await get(self._port, path, token)
        except TimeoutError:
            status = "timed out"
        except (OSError, EOFError) as error:
            status = type(error).__name__
        look = self.looks[path]
        if status == "200":
            look.took_s.append(time.perf_counter() - began)
        else:
            look.failed.append(status)


async def get(port: int, path: str, token: str = "") -> str:
    """The status of a GET on a connection of its own.

    Raises:
        OSError, EOFError: there was no answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        proof = f"authorization: Bearer {token}\r\n" if token else ""
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n{proof}connection: close\r\n\r\n".encode())
        return (await reader.readuntil(b"\r\n"))[9:12].decode()
    finally:
        writer.close()
