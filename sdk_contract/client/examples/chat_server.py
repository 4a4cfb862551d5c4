"""A chat server with an OpenAI-compatible endpoint and a tiny model, which changes its version without a restart.

```
python -m sdk_contract.client.examples.chat_server serve --port 8080 &
graylag-agent run --dir D --poll-now \
  --on-activate 'python -m sdk_contract.client.examples.chat_server load --port 8080' \
  --health-check 'python -m sdk_contract.client.examples.chat_server ask --port 8080'
```

The model is a table of byte successors (component `backbone`, 65,536 bytes: `table[a][b]` is the weight
of byte `b` after byte `a`). Replace it by any runtime; `Server` shows how to use `HotSwap`.
"""

import argparse
import http.client
import json
import os
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from sdk_contract.client.errors import LoadFailed, SmokeFailed
from sdk_contract.client.host.hot_swap import HotSwap, NothingLoaded
from sdk_contract.client.storage.store import InstalledVersion

SIDE = 256
MAX_BODY = 64 * 1024
MAX_TOKENS = 256


class ByteChain:
    """`Runtime` for the table of successors."""

    def load(self, installed: InstalledVersion) -> object:
        """Map the table; 65,536 bytes, row by row."""
        table = np.fromfile(installed.components["backbone"], np.uint8)
        return table.reshape(SIDE, SIDE)

    def smoke_test(self, loaded: object) -> dict[str, float]:
        """Generate four bytes.

        Raises:
            ValueError: the model generates nothing.
        """
        started = time.monotonic()
        if not write(loaded, "a ", 4):
            raise ValueError("the model has nothing to say")
        return {"first_token_ms": (time.monotonic() - started) * 1000 / 4}

    def close(self, loaded: object) -> None:
        """Do nothing: the model uses only memory."""


def write(table: object, prompt: str, count: int) -> str:
    """The `count` most likely bytes after a prompt, one after the other, as Latin-1 text."""
    rows = np.asarray(table)
    last, made = (prompt.encode("latin-1", "replace") or b" ")[-1], bytearray()
    for _ in range(count):
        if not rows[last].any():
            break
        last = int(rows[last].argmax())
        made.append(last)
    return made.decode("latin-1")


class Server(ThreadingHTTPServer):
    """Serves requests on loopback; each request holds a lease on one version."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """Listen; there is no model yet."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.models = HotSwap(ByteChain())

    def take_on(self, told: dict[str, Any]) -> dict[str, float]:
        """Load a version beside the current one, test it, and switch.

        Raises:
            ContractError: the version cannot be loaded; the old one stays in use.
        """
        installed = InstalledVersion(
            str(told["model"]),
            str(told["version"]),
            0,
            "",
            "",
            {str(name): Path(path) for name, path in told["components"].items()},
        )
        return dict(self.models.activate(installed))

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """A chat completion in the shape of OpenAI's API.

        Raises:
            NothingLoaded: no version is loaded yet.
        """
        prompt = str(body["messages"][-1]["content"])
        count = min(MAX_TOKENS, int(body.get("max_tokens", 32)))
        with self.models.acquire() as lease:
            text = write(lease.model, prompt, count)
            name = f"{lease.installed.model}@{lease.installed.version}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
        return {"object": "chat.completion", "created": int(time.time()), "model": name, "choices": [choice]}


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        """`/v1/chat/completions` for everyone, `/load` for the agent on this machine."""
        size = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(min(size, MAX_BODY)))
            if self.path == "/v1/chat/completions":
                self._answer(200, self.server.complete(body))
            elif self.path == "/load":
                self._answer(200, self.server.take_on(body))
            else:
                self._answer(404, {"error": {"message": "no such path"}})
        except (NothingLoaded, LoadFailed, SmokeFailed) as fault:
            self._answer(503, {"error": {"message": str(fault), "code": fault.code}})
        except (ValueError, KeyError, TypeError, LookupError) as error:
            self._answer(400, {"error": {"message": str(error)}})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Log nothing: standard output is for the agent."""


def call(port: int, path: str, value: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST to the server on this machine; its status and its JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def version_from_environment() -> dict[str, Any]:
    """The version that `graylag-agent` passes in the environment of `--on-activate`."""
    prefix = "GRAYLAG_COMPONENT_"
    found = {
        name.removeprefix(prefix).lower(): path
        for name, path in os.environ.items()
        if name.startswith(prefix)
    }
    return {
        "model": os.environ["GRAYLAG_MODEL"],
        "version": os.environ["GRAYLAG_VERSION"],
        "components": found,
    }


def main(arguments: Sequence[str]) -> int:
    """`serve`, `load` (for `--on-activate`) or `ask` (for `--health-check`); returns the exit status."""
    parser = argparse.ArgumentParser("chat_server")
    parser.add_argument("what", choices=["serve", "load", "ask"])
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args(arguments)
    if options.what == "serve":
        with Server(options.port) as server:
            server.serve_forever()
        return 0
    question = {"messages": [{"role": "user", "content": "a "}], "max_tokens": 4}
    path = "/load" if options.what == "load" else "/v1/chat/completions"
    status, response = call(
        options.port, path, version_from_environment() if options.what == "load" else question
    )
    sys.stdout.write(json.dumps(response if status != 200 or options.what == "load" else {}))
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
