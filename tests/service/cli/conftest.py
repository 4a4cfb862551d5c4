"""Runs commands against the live service over a real socket."""

import json
import socket
import threading
from dataclasses import dataclass

import pytest
import uvicorn
from typer.testing import CliRunner

from service.cli.main import build_app
from service.errors import UserFacingError
from tests.service.conftest import LiveService
from tests.waiting import PATIENCE_S, wait_until


@dataclass
class Command:
    """The `graylag` command with a server and API tokens."""

    live: LiveService
    url: str

    def __call__(self, *words, scope="admin", status=0):
        """Run a command and return its output, or its error message; require an exit status."""
        environment = {"GRAYLAG_URL": self.url, "GRAYLAG_TOKEN": self.live.tokens[scope], "COLUMNS": "200"}
        arguments = [str(word) for word in words]
        done = CliRunner().invoke(build_app(arguments[0]), arguments, env=environment)
        if isinstance(done.exception, UserFacingError):
            assert status == 1, done.exception
            return str(done.exception)
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    def json(self, *words, **more):
        """Run a command with `--json` and return the parsed output."""
        return json.loads(self(*words, "--json", **more))


@pytest.fixture
def graylag(live):
    """The command; admin routes do not depend on the event loop of the application, so another one serves them."""
    server = uvicorn.Server(
        uvicorn.Config(
            live.client.app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2
        )
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        wait_until(lambda: server.started, "the server to start")
        yield Command(live, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
