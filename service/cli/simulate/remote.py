"""A virtual fleet against a running server, over HTTP: its days pass as fast as the wanted rate of polls needs."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.client.identity import DeviceKey
from sdk_contract.wire import TokenAnswer
from service.cli.bench.fleet import bearer_call
from service.cli.bench.wire import Wire
from service.cli.http import CliError
from service.cli.simulate.devices import Virtual
from service.cli.simulate.engine import POLL, Simulation

ENROLL = "/v1/device/enroll"
CONNECTIONS = 50
TICK_S = 0.005
"""Pause between two looks at what is due."""
MOST_BEHIND_S = 1.0
"""What could not be sent in time is made up for as far as this; the rest is not: nobody wants a burst."""
UNDER_WAY = 500
PATIENCE_S = 30.0
"""How long an answer may take."""


class RealTime:
    """The clock on the wall, run through faster."""

    def __init__(self, speed: float) -> None:
        """Simulated seconds for each real one."""
        self.speed = speed
        self._started = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds of the devices' time since the beginning."""
        return (time.monotonic() - self._started) * self.speed

    @property
    def epoch_s(self) -> float:
        """What the server's clock says."""
        return time.time()


async def run(simulation: Simulation, rate: float, seconds: float, stop: asyncio.Event) -> None:
    """Send what is due when it is due, whatever became of the requests before, for so long.

    Args:
        simulation: the fleet, on a `RealTime`.
        rate: polls a second that are never exceeded.
        seconds: how long.
        stop: ends it before that.
    """
    began, allowed = time.monotonic(), 0.0
    under_way = 0

    def over(_task: object) -> None:
        nonlocal under_way
        under_way -= 1

    async with asyncio.TaskGroup() as tasks:
        past = 0.0
        while past < seconds and not stop.is_set():
            for due in simulation.take(simulation.now_s, min(int(allowed), UNDER_WAY - under_way)):
                allowed -= due.path == POLL
                under_way += 1
                tasks.create_task(simulation.happen(due)).add_done_callback(over)
            await asyncio.sleep(TICK_S)
            before, past = past, time.monotonic() - began
            allowed = min(allowed + (past - before) * rate, max(1.0, MOST_BEHIND_S * rate))


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
        self.url = url
        self.seconds: deque[float] = deque(maxlen=100_000)

    async def post(self, device: Virtual, path: str, body: bytes) -> tuple[int, bytes]:
        """One request; a connection that broke is made anew for the next one.

        Raises:
            OSError: no answer.
        """
        wire, started = await self._free.get(), time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_S):
                wire = wire or await Wire.open(self._port, self._host, tls=self._tls)
                answer = await wire.send(
                    bearer_call(path, body, device.token, host=f"{self._host}:{self._port}")
                )
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            if wire is not None:
                wire.close()
            wire = None
            raise ConnectionError(str(error)) from error
        finally:
            self._free.put_nowait(wire)
        self.seconds.append(time.perf_counter() - started)
        return answer

    def close(self) -> None:
        """Hang up."""
        while not self._free.empty():
            wire = self._free.get_nowait()
            if wire is not None:
                wire.close()


async def enrol(
    line: HttpLine, devices: Sequence[Virtual], enrolment_token: str, stop: asyncio.Event
) -> None:
    """Let every device in, with a key of its own; `stop` ends it before the last one.

    Raises:
        CliError: the server refuses, or is not there.
    """
    for start in range(0, len(devices), CONNECTIONS):
        if stop.is_set():
            return
        part = devices[start : start + CONNECTIONS]
        await asyncio.gather(*(_let_in(line, device, enrolment_token) for device in part))


async def _let_in(line: HttpLine, device: Virtual, enrolment_token: str) -> None:
    key = DeviceKey(Ed25519PrivateKey.generate())
    request = key.enrolment(device.id, enrolment_token, dict(device.attributes))
    try:
        status, answer = await line.post(device, ENROLL, request.model_dump_json().encode())
    except OSError as error:
        raise CliError(
            f"no server answers at {line.url} ({error}); is `graylag up` running there?"
        ) from error
    if status != 201:
        raise CliError(f"{device.id} was not let in: {answer.decode(errors='replace')[:200]}")
    token = TokenAnswer.model_validate_json(answer).access_token
    if token is None:
        raise CliError(f"{device.id} waits for an operator; set GRAYLAG_AUTO_ACCEPT=true for simulations")
    device.token = token
