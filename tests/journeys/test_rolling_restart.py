"""Two API processes behind a load balancer are restarted one after the other, under load: no request fails."""

import asyncio
import time
from contextlib import suppress

import pytest

from service.testbed import dataset
from service.testbed.server_process import api_process
from tests.journeys.fleet_servers import Phone, fleet_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DRAIN_S = 2.0
CHECK_INTERVAL_S = 0.2
POLL_PAUSE_S = 0.02
CONCURRENT_LOOPS = 4


class LoadBalancer:
    """Checks `/ready`, and sends each request to a process that was ready at the last check."""

    def __init__(self):
        self.ready, self.known, self.turn = [], [], 0

    async def check(self):
        self.ready = [port for port in self.known if await self._is_ready(port)]

    async def check_repeatedly(self):
        while True:
            await self.check()
            # A real load balancer checks at intervals, too.
            await asyncio.sleep(CHECK_INTERVAL_S)

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
    """Phones that poll without end; counts responses and records failures."""

    def __init__(self, balancer, phones):
        self.balancer, self.phones = balancer, phones
        self.succeeded, self.failures = 0, []

    async def poll_repeatedly(self):
        for number in range(1_000_000):
            phone = self.phones[number % len(self.phones)]
            phone.port = self.balancer.next_port()
            try:
                status, _body = await phone.poll(dataset.NO_UPDATE_MODEL)
            except (OSError, EOFError) as error:
                status = repr(error)
            if status == 200:
                self.succeeded += 1
            else:
                self.failures.append(status)
            # Leave time for the other processes: the test is about restarts, not about throughput.
            await asyncio.sleep(POLL_PAUSE_S)


async def start(balancer, servers):
    """Start a process that the load balancer finds ready."""
    process = api_process(servers.settings, servers.stack.directory)
    balancer.known.append((await process.__aenter__())[1])
    await balancer.check()
    assert balancer.known[-1] in balancer.ready
    return process


async def stop(process):
    """Stop a process; return the seconds from the signal to its end."""
    before = time.monotonic()
    await process.__aexit__(None, None, None)
    return time.monotonic() - before


async def restart_all(servers, load):
    """Start two processes, replace each by a new one, and return how long each took to stop."""
    processes = [await start(load.balancer, servers) for _ in range(2)]
    tasks = [asyncio.create_task(load.balancer.check_repeatedly())]
    tasks += [asyncio.create_task(load.poll_repeatedly()) for _ in range(CONCURRENT_LOOPS)]
    durations_s = []
    for index in range(2):
        replacement = await start(load.balancer, servers)
        durations_s.append(await stop(processes[index]))
        processes[index] = replacement
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for process in processes:
        await stop(process)
    return durations_s


def test_a_rolling_restart_under_load_fails_no_request():
    phones = [Phone(number, 0) for number in range(20)]
    load = Load(LoadBalancer(), phones)
    with fleet_servers([phone.device for phone in phones], drain_s=DRAIN_S) as servers:
        durations_s = asyncio.run(restart_all(servers, load))
    assert load.failures == []
    assert load.succeeded > 100
    assert all(seconds >= DRAIN_S for seconds in durations_s)
