"""A virtual fleet against a running server, over HTTP: its days pass as fast as the wanted rate of polls needs."""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from sdk_contract.wire import TokenAnswer
from service.cli.bench.fleet import bearer_call, handset
from service.cli.bench.wire import Wire
from service.cli.http import CliError
from service.cli.simulate.devices import Virtual

ENROLL = "/v1/device/enroll"
CONNECTIONS = 50


class RealTime:
    """The clock on the wall, run through faster."""

    def __init__(self, speed: float) -> None:
        """Simulated seconds for each real one."""
        self._speed = speed
        self._started = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds of the devices' time since the beginning."""
        return (time.monotonic() - self._started) * self._speed

    @property
    def epoch_s(self) -> float:
        """What the server's clock says."""
        return time.time()

    async def reach(self, at_s: float) -> None:
        """Wait until then."""
        await asyncio.sleep(max(0.0, at_s - self.now_s) / self._speed)


class HttpLine:
    """Connections to one server, used by all devices in turns.

    Attributes:
        seconds: how long each answer took, the newest 100,000.
    """

    def __init__(self, url: str) -> None:
        """Connect when needed."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CliError(f"{url} is no http(s) address")
        self._tls, self._host = parts.scheme == "https", parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._free: asyncio.LifoQueue[Wire | None] = asyncio.LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put_nowait(None)
        self.seconds: list[float] = []

    async def post(self, device: Virtual, path: str, body: bytes) -> tuple[int, bytes]:
        """One request; a connection that broke is made anew for the next one.

        Raises:
            OSError: no answer.
        """
        wire, started = await self._free.get(), time.perf_counter()
        try:
            wire = wire or await Wire.open(self._port, self._host, tls=self._tls)
            answer = await wire.send(bearer_call(path, body, device.token, host=f"{self._host}:{self._port}"))
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            if wire is not None:
                wire.close()
            wire = None
            raise ConnectionError(str(error)) from error
        finally:
            self._free.put_nowait(wire)
        if len(self.seconds) < 100_000:
            self.seconds.append(time.perf_counter() - started)
        return answer

    def close(self) -> None:
        """Hang up."""
        while not self._free.empty():
            wire = self._free.get_nowait()
            if wire is not None:
                wire.close()


async def enrol(line: HttpLine, devices: Sequence[Virtual], enrolment_token: str) -> None:
    """Let every device in, with a key of its own.

    Raises:
        CliError: the server refuses.
    """

    async def one(number: int, device: Virtual) -> None:
        request = handset(number).key.enrolment(device.id, enrolment_token, dict(device.attributes))
        status, answer = await line.post(device, ENROLL, request.model_dump_json().encode())
        if status != 201:
            raise CliError(f"{device.id} was not let in: {answer.decode(errors='replace')[:200]}")
        token = TokenAnswer.model_validate_json(answer).access_token
        if token is None:
            raise CliError(f"{device.id} waits for an operator; set GRAYLAG_AUTO_ACCEPT=true for simulations")
        device.token = token

    for start in range(0, len(devices), CONNECTIONS):
        part = devices[start : start + CONNECTIONS]
        await asyncio.gather(*(one(start + index, device) for index, device in enumerate(part)))
