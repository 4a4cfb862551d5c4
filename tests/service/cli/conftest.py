"""The commands as a person types them, against the live service behind a real socket."""

import json
import socket
import threading
import time
from dataclasses import dataclass

import pytest
import uvicorn
from typer.testing import CliRunner

from service.cli.main import build
from service.errors import Refusal

PATIENCE_S = 30


@dataclass
class Command:
    """`graylag`, with a server and a token."""

    live: object
    url: str

    def __call__(self, *words, scope="admin", status=0):
        """Run one; what it said. `status` is the one that it has to end with."""
        environment = {"GRAYLAG_URL": self.url, "GRAYLAG_TOKEN": self.live.tokens[scope], "COLUMNS": "200"}
        words = [str(word) for word in words]
        done = CliRunner().invoke(build(words[0]), words, env=environment)
        if isinstance(done.exception, Refusal):
            assert status == 1, done.exception
            return str(done.exception)
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    def json(self, *words, **more):
        """The same, as a script asks for it."""
        return json.loads(self(*words, "--json", **more))


@pytest.fixture
def graylag(live):
    """Admin routes need nothing of the loop that the process was made in, so another may serve them."""
    server = uvicorn.Server(
        uvicorn.Config(
            live.client.app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2
        )
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield Command(live, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
