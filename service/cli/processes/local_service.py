"""The whole service on one machine, for `graylag up` and `graylag demo`: servers, API, workers and beat."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

import migrations
from service.cli.platform import trust_directory
from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.infrastructure.embedded import (
    BUCKET,
    EmbeddedError,
    Endpoints,
    Stack,
    free_ports,
    is_port_in_use,
)
from service.infrastructure.tokens import new_secret
from service.operations.fleet import enrollment
from service.operations.platform import api_tokens, trust

CHECK_INTERVAL_S = 0.2
DEVELOPMENT_SETTINGS = {"GRAYLAG_LOG_FORMAT": "console", "GRAYLAG_WEBHOOK_ALLOW_PRIVATE": "true"}
"""Readable logs, and webhooks that may call this machine."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that runs on this machine."""

    api_url: str
    admin_token: str
    enrollment_token: str
    endpoints: Endpoints
    trust_bundle: Path

    def as_json(self) -> dict[str, str | int]:
        """Addresses and credentials, for scripts."""
        return {
            "api_url": self.api_url,
            "admin_token": self.admin_token,
            "enrollment_token": self.enrollment_token,
            "database_url": self.endpoints.database_url.replace("+psycopg", ""),
            "redis_url": self.endpoints.redis_url,
            "s3_endpoint": self.endpoints.s3_endpoint,
            "s3_bucket": BUCKET,
            "trust_bundle": str(self.trust_bundle),
            "pid": os.getpid(),
        }


def start_service(stack: Stack, *, port: int = 0, settings: dict[str, str] | None = None) -> RunningService:
    """Start the servers and all processes, and wait until the API is ready.

    Args:
        stack: an open stack.
        port: port of the API; 0 for a free one.
        settings: additional `GRAYLAG_*` variables.

    Raises:
        EmbeddedError: a process did not start, or the port is in use.
    """
    # Check first: whatever listens there could answer the readiness check in our place.
    if port and is_port_in_use(port):
        raise EmbeddedError(f"port {port} is in use; stop the process that uses it, or choose another --port")
    endpoints = stack.start_servers()
    migrations.upgrade(endpoints.database_url)
    key_directory = _create_keys_once(stack.directory)
    admin_token, enrollment_token = _create_tokens_once(
        stack.directory, endpoints.database_url, key_directory
    )
    port = port or free_ports(1)[0]
    stack.on_progress("starting API, workers and beat")
    environment = {**endpoints.environment(), **DEVELOPMENT_SETTINGS, **(settings or {})}
    _spawn_processes(stack, port, key_directory, environment)
    url = f"http://127.0.0.1:{port}"
    stack.wait_for("api", lambda: _is_ready(f"{url}/ready"))
    return RunningService(url, admin_token, enrollment_token, endpoints, key_directory / "trust.json")


def wait_until_a_process_ends(stack: Stack) -> None:
    """Block for as long as all processes run.

    Raises:
        EmbeddedError: a process ended; the message has the end of its log.
    """
    while True:
        name = stack.exited_child()
        if name is not None:
            raise EmbeddedError(f"{name} ended; the last lines of its log:\n{stack.tail(name)}")
        time.sleep(CHECK_INTERVAL_S)


@contextmanager
def terminating_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C: each of the three ends the block without an error.

    SIGHUP stays ignored if the process was started with it ignored, as `nohup` does.
    """
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _spawn_processes(stack: Stack, port: int, key_directory: Path, environment: dict[str, str]) -> None:
    """Start all processes; each gets the keys of its own role only."""
    graylag = [sys.executable, "-m", "service.cli.main"]
    secret = (key_directory / "access_token_secret").read_text()
    api_keys = {
        "GRAYLAG_DIRECTOR_KEY": f"file:{key_directory}/director.pem",
        "GRAYLAG_ACCESS_TOKEN_SECRET": secret,
    }
    stack.spawn("api", [*graylag, "api", "--port", str(port)], environment | api_keys)
    patcher_key = {"GRAYLAG_PATCHER_KEY": f"file:{key_directory}/patcher.pem"}
    delta = [*graylag, "worker", "--queues", "ingest,delta", "--concurrency", "2"]
    stack.spawn("worker-delta", delta, environment | patcher_key)
    publisher_key = {"GRAYLAG_PUBLISHER_KEY": f"file:{key_directory}/publisher.pem"}
    signing = [*graylag, "worker", "--queues", "signing,housekeeping"]
    stack.spawn("worker-signing", signing, environment | publisher_key)
    stack.spawn("worker-webhooks", [*graylag, "worker", "--queues", "webhooks"], environment)
    stack.spawn("beat", [*graylag, "beat"], environment)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2, trust_env=False).is_success
    except httpx2.HTTPError:
        return False


def _create_keys_once(directory: Path) -> Path:
    """The directory of keys, created on the first start; the rename makes an interrupted start invisible."""
    keys = directory / "keys"
    if not keys.exists():
        temporary = directory / "keys.new"
        for leftover in temporary.glob("*"):
            leftover.unlink()
        trust_directory.create_keys(temporary)
        secret = temporary / "access_token_secret"
        secret.touch(mode=0o600)
        secret.write_text(new_secret("acc"))
        temporary.chmod(0o700)
        temporary.rename(keys)
    return keys


def _create_tokens_once(directory: Path, database_url: str, key_directory: Path) -> tuple[str, str]:
    """An admin token and an enrollment token, created on the first start and reused on later ones."""
    path = directory / "tokens.json"
    if not path.exists():
        engine = database.engine_for(database_url)
        try:
            suffix, now = os.urandom(4).hex(), utc_now()
            with database.transaction(engine) as session:
                trust.add(session, (key_directory / "trust.json").read_bytes(), actor="up", now=now)
                admin = api_tokens.create(session, f"up-{suffix}", "admin", actor="up", now=now)
                enrollment_token = enrollment.create_token(session, f"up-{suffix}", actor="up", now=now)
        finally:
            engine.dispose()
        temporary = path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({"admin": admin, "enrollment": enrollment_token}))
        temporary.rename(path)
    tokens = json.loads(path.read_text())
    return tokens["admin"], tokens["enrollment"]
