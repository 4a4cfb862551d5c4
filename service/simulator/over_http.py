"""A simulation against a running server: simulated time passes as fast as the requested rate of polls needs."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.client.storage.identity import DeviceKey
from sdk_contract.wire import TokenResponse
from service.cli.errors import CliError
from service.simulator.devices import VirtualDevice
from service.simulator.engine import Simulation
from service.testbed.connection import HttpConnection
from service.testbed.devices import POLL, bearer_request

ENROLL = "/v1/device/enroll"
CONNECTIONS = 50
CHECK_INTERVAL_S = 0.005
"""Pause between two checks for requests that are due."""
MAX_CATCH_UP_S = 1.0
"""Polls that could not be sent in time are made up for only this far back, to avoid a burst."""
MAX_CONCURRENT_REQUESTS = 500
RESPONSE_TIMEOUT_S = 30.0
KEPT_LATENCIES = 100_000


class AcceleratedClock:
    """Real time, multiplied."""

    def __init__(self, speed: float) -> None:
        """Let `speed` simulated seconds pass per real second."""
        self.speed = speed
        self._started = time.monotonic()

    @property
    def now_s(self) -> float:
        """Simulated seconds since the start."""
        return (time.monotonic() - self._started) * self.speed

    @property
    def epoch_s(self) -> float:
        """Seconds since 1970, real time."""
        return time.time()


async def run(simulation: Simulation, rate: float, duration_s: float, stop: asyncio.Event) -> None:
    """Send requests when they are due, whatever happened to earlier ones.

    Args:
        simulation: uses an `AcceleratedClock`.
        rate: highest rate of polls, per second.
        duration_s: real seconds.
        stop: ends the run early.
    """
    started, allowed_polls = time.monotonic(), 0.0
    running = 0

    def request_ended(_task: object) -> None:
        nonlocal running
        running -= 1

    async with asyncio.TaskGroup() as tasks:
        elapsed_s = 0.0
        while elapsed_s < duration_s and not stop.is_set():
            limit = min(int(allowed_polls), MAX_CONCURRENT_REQUESTS - running)
            for request in simulation.pop_due(simulation.now_s, limit):
                allowed_polls -= request.path == POLL
                running += 1
                tasks.create_task(simulation.process(request)).add_done_callback(request_ended)
            await asyncio.sleep(CHECK_INTERVAL_S)
            previous_s, elapsed_s = elapsed_s, time.monotonic() - started
            allowed_polls = min(
                allowed_polls + (elapsed_s - previous_s) * rate, max(1.0, MAX_CATCH_UP_S * rate)
            )


class HttpTransport:
    """A pool of connections to one server, shared by all devices.

    Attributes:
        url: of the server.
        latencies_s: latency of the newest responses, seconds.
    """

    def __init__(self, url: str) -> None:
        """Check the URL; connections are opened when they are needed.

        Raises:
            CliError: the URL is not an http or https URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CliError(f"{url} is not an http or https URL; check --url")
        self._tls, self._host = parts.scheme == "https", parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._idle: asyncio.LifoQueue[HttpConnection | None] = asyncio.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(None)
        self.url = url
        self.latencies_s: deque[float] = deque(maxlen=KEPT_LATENCIES)

    async def post(self, device: VirtualDevice, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request of a device; return status and body.

        Raises:
            OSError: there is no response; the broken connection is replaced for the next request.
        """
        connection, started = await self._idle.get(), time.perf_counter()
        host = f"{self._host}:{self._port}"
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                connection = connection or await HttpConnection.open(self._port, self._host, tls=self._tls)
                response = await connection.send(bearer_request(path, body, device.access_token, host=host))
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            if connection is not None:
                connection.close()
            connection = None
            raise ConnectionError(str(error)) from error
        finally:
            self._idle.put_nowait(connection)
        self.latencies_s.append(time.perf_counter() - started)
        return response

    def close(self) -> None:
        """Close all idle connections."""
        while not self._idle.empty():
            connection = self._idle.get_nowait()
            if connection is not None:
                connection.close()


async def enroll(
    transport: HttpTransport, devices: Sequence[VirtualDevice], enrollment_token: str, stop: asyncio.Event
) -> None:
    """Enroll all devices, each with a new key; `stop` ends it early.

    Raises:
        CliError: the server cannot be reached, or does not enroll a device.
    """
    for start in range(0, len(devices), CONNECTIONS):
        if stop.is_set():
            return
        batch = devices[start : start + CONNECTIONS]
        await asyncio.gather(*(_enroll_one(transport, device, enrollment_token) for device in batch))


async def _enroll_one(transport: HttpTransport, device: VirtualDevice, enrollment_token: str) -> None:
    key = DeviceKey(Ed25519PrivateKey.generate())
    request = key.enrollment_request(device.id, enrollment_token, dict(device.attributes))
    try:
        status, response = await transport.post(device, ENROLL, request.model_dump_json().encode())
    except OSError as error:
        raise CliError(f"no response from {transport.url} ({error}); is `graylag up` running?") from error
    if status != 201:
        raise CliError(
            f"{device.id} was not enrolled: status {status}, {response.decode(errors='replace')[:200]}"
        )
    token = TokenResponse.model_validate_json(response).access_token
    if token is None:
        raise CliError(
            f"{device.id} waits for acceptance by an operator; set GRAYLAG_AUTO_ACCEPT_DEVICES=true on the "
            "server to simulate devices"
        )
    device.access_token = token
