"""Two API processes behind a proxy are restarted one after the other, under load: no request fails."""

import asyncio
import time
from contextlib import suppress

import pytest

from service.cli.bench import world
from service.cli.bench.sockets import api_process
from tests.journeys.fleet_servers import Phone, fleet_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DRAIN_S = 2.0
LOOK_EVERY_S = 0.2
PAUSE_S = 0.02
ASKING = 4


class Proxy:
    """As load balancers do it: asks `/ready`, sends each request to a process that was ready when last asked."""

    def __init__(self):
        self.ready, self.known, self.turn = [], [], 0

    async def look(self):
        self.ready = [port for port in self.known if await self._is_ready(port)]

    async def look_on(self):
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def next_port(self):
        self.turn += 1
        return self.ready[self.turn % len(self.ready)]

    async def _is_ready(self, port):
        with suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                return (await reader.read()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
        return False


class Load:
    """Phones that poll again and again, and what they heard."""

    def __init__(self, proxy, phones):
        self.proxy, self.phones = proxy, phones
        self.answered, self.failed = 0, []

    async def go_on(self):
        for number in range(1_000_000):
            phone = self.phones[number % len(self.phones)]
            phone.port = self.proxy.next_port()
            try:
                status, _body = await phone.poll(world.QUIET)
            except (OSError, EOFError) as error:
                status = repr(error)
            if status == 200:
                self.answered += 1
            else:
                self.failed.append(status)
            await asyncio.sleep(PAUSE_S)


async def started(proxy, servers):
    """A process that the proxy knows and finds ready."""
    process = api_process(servers.settings, servers.stack.directory)
    proxy.known.append((await process.__aenter__())[1])
    await proxy.look()
    assert proxy.known[-1] in proxy.ready
    return process


async def stopped(process):
    """How long it took from the signal to the end."""
    before = time.monotonic()
    await process.__aexit__(None, None, None)
    return time.monotonic() - before


async def roll(servers, load):
    """Start two, replace each by a new one; the seconds that each took to go."""
    processes = [await started(load.proxy, servers) for _ in range(2)]
    tasks = [asyncio.create_task(load.proxy.look_on())]
    tasks += [asyncio.create_task(load.go_on()) for _ in range(ASKING)]
    took = []
    for index in range(2):
        fresh = await started(load.proxy, servers)
        took.append(await stopped(processes[index]))
        processes[index] = fresh
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for process in processes:
        await stopped(process)
    return took


def test_a_rolling_restart_under_load_fails_no_request():
    phones = [Phone(number, 0) for number in range(20)]
    load = Load(Proxy(), phones)
    with fleet_servers([phone.handset for phone in phones], drain_s=DRAIN_S) as servers:
        took = asyncio.run(roll(servers, load))
    assert load.failed == []
    assert load.answered > 100
    assert all(seconds >= DRAIN_S for seconds in took)
