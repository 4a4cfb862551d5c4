"""Servers of a story's own, which may be killed and brought back, and API processes in front of them."""

import json
import signal
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from service import database
from service.cli.bench import world
from service.cli.bench.fleet import (
    EVENTS,
    POLL,
    events_body,
    handset,
    poll_body,
    with_access_token,
    with_device_key,
)
from service.cli.bench.sockets import api_process
from service.cli.bench.stage import SECRET, empty_database, settings_for
from service.cli.bench.wire import Wire
from service.embedded import Stack
from service.embedded.postgres import create_database
from service.embedded.stack import ping
from service.tokens import AccessTokens, utc_now

TOKENS = AccessTokens(SECRET.encode(), 3600)
RECOVERY_S = 30


class Servers:
    """A stack whose servers can be killed."""

    def __init__(self, stack, endpoints, settings):
        self.stack, self.endpoints, self.settings = stack, endpoints, settings

    def kill(self, name):
        """At once, as by the kernel; PostgreSQL's own children with it."""
        child = self.stack._children[name]
        child.send_signal(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        child.wait()

    def revive(self, name):
        """The same server at the same address, on the data that it left."""
        password, _access_key, _secret_key = self.stack._secrets()
        port = int(self._address(name).rsplit(":", 1)[1].split("/")[0])
        if name == "postgres":
            self.stack._start_postgres(port, password)
            self.stack.wait_for(name, lambda: create_database(self.endpoints.database_url))
        elif name == "valkey":
            self.stack._start_valkey(port, password)
            self.stack.wait_for(name, lambda: ping(self.endpoints.redis_url))

    def _address(self, name):
        return self.endpoints.database_url if name == "postgres" else self.endpoints.redis_url


@contextmanager
def fleet_servers(handsets, **changes):
    """Running servers, a small world in their database, and the settings of an API over it."""
    with tempfile.TemporaryDirectory(prefix="graylag-test-") as place:
        directory = Path(place)
        directory.chmod(0o755)
        with Stack(directory, postgres={"fsync": "off"}) as stack:
            endpoints = stack.start_servers()
            url = empty_database(endpoints, "story")
            engine = database.engine_for(url)
            world.fill(engine, world.Scale(100, 2, 5), handsets)
            engine.dispose()
            settings = settings_for(endpoints, url, directory).model_copy(update=changes)
            yield Servers(stack, endpoints, settings)
            stack.stop()
            stack.remove()


@asynccontextmanager
async def api(servers):
    """A `graylag api` process and a connection to it."""
    async with api_process(servers.settings, servers.stack.directory) as (pid, port):
        yield pid, port


class Phone:
    """One device, and what it hears."""

    def __init__(self, number, port):
        self.handset, self.port = handset(number), port

    async def say(self, call):
        wire = await Wire.open(self.port)
        try:
            status, body = await wire.send(call)
        finally:
            wire.close()
        return status, json.loads(body)

    async def poll(self, model, *, signed=False):
        body = poll_body(self.handset, model, world.RUNNING)
        if signed:
            return await self.say(with_device_key(self.handset, POLL, body, utc_now()))
        return await self.say(with_access_token(self.handset, POLL, body, TOKENS, utc_now()))

    async def report(self, body=None, *, signed=False):
        body = body or events_body(3)
        if signed:
            return await self.say(with_device_key(self.handset, EVENTS, body, utc_now()))
        return await self.say(with_access_token(self.handset, EVENTS, body, TOKENS, utc_now()))
