"""`graylag up`: servers, API, workers and beat in one terminal."""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from rich.console import Console

import migrations
from service import database
from service.cli import trust_files
from service.embedded import BUCKET, EmbeddedError, Endpoints, Stack, free_ports, is_taken
from service.operations import access, enrolments, trust
from service.tokens import new_secret, utc_now

WATCH_S = 0.2
DEVELOPMENT = {"GRAYLAG_LOG_FORMAT": "console", "GRAYLAG_WEBHOOK_PRIVATE": "true"}
"""A person reads the logs, and a webhook to try out listens on the same machine."""


@dataclass(frozen=True, slots=True)
class Running:
    """A whole service on this machine."""

    api_url: str
    admin_token: str
    enrolment_token: str
    endpoints: Endpoints
    trust: Path

    def as_json(self) -> dict[str, str | int]:
        """What a script needs to use it."""
        return {
            "api_url": self.api_url,
            "admin_token": self.admin_token,
            "enrolment_token": self.enrolment_token,
            "database_url": self.endpoints.database_url.replace("+psycopg", ""),
            "redis_url": self.endpoints.redis_url,
            "s3_endpoint": self.endpoints.s3_endpoint,
            "s3_bucket": BUCKET,
            "trust_bundle": str(self.trust),
            "pid": os.getpid(),
        }


def up(
    data: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".graylag"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 for a free one.")] = 8000,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON when all is ready.")] = False,
) -> None:
    """The whole service in one terminal, with PostgreSQL, Valkey and SeaweedFS from their wheels.

    Stop it with Ctrl-C; the data stays. For development: production runs the single processes.
    """
    console = Console(stderr=True)
    with terminating_signals(), Stack(data, console.print) as stack:
        running = start_service(stack, port=port)
        if as_json:
            print(json.dumps(running.as_json()), flush=True)
        else:
            welcome(console, running)
        watch(stack)


def start_service(stack: Stack, *, port: int = 0, settings: dict[str, str] | None = None) -> Running:
    """Start everything below an open stack, and wait until it is ready for traffic.

    Args:
        stack: an open one.
        port: of the API; 0 for a free one.
        settings: further `GRAYLAG_*` variables.

    Raises:
        EmbeddedError: a process did not come up, or somebody else listens on that port.
    """
    # Before anything is started: whoever listens there might answer in our place that all is ready.
    if port and is_taken(port):
        raise EmbeddedError(f"port {port} is taken; stop what listens there or choose another --port")
    endpoints = stack.start_servers()
    migrations.upgrade(endpoints.database_url)
    key_directory = _keys(stack.directory)
    admin_token, enrolment_token = _credentials(stack.directory, endpoints.database_url, key_directory)
    port = port or free_ports(1)[0]
    stack.say("starting API, workers and beat")
    common = {**endpoints.environment(), **DEVELOPMENT, **(settings or {})}
    _spawn_processes(stack, port, key_directory, common)
    url = f"http://127.0.0.1:{port}"
    stack.wait_for("api", lambda: _answers(f"{url}/ready"))
    return Running(url, admin_token, enrolment_token, endpoints, key_directory / "trust.json")


def _spawn_processes(stack: Stack, port: int, key_directory: Path, common: dict[str, str]) -> None:
    """Each process gets the keys of its role and no others."""
    graylag = [sys.executable, "-m", "service.cli"]
    secret = (key_directory / "access_token_secret").read_text()
    api = {
        "GRAYLAG_DIRECTOR_KEY": f"file:{key_directory}/director.pem",
        "GRAYLAG_ACCESS_TOKEN_SECRET": secret,
    }
    stack.spawn("api", [*graylag, "api", "--port", str(port)], common | api)
    patcher = {"GRAYLAG_PATCHER_KEY": f"file:{key_directory}/patcher.pem"}
    delta = [*graylag, "worker", "--queues", "ingest,delta", "--concurrency", "2"]
    stack.spawn("worker-delta", delta, common | patcher)
    publisher = {"GRAYLAG_PUBLISHER_KEY": f"file:{key_directory}/publisher.pem"}
    stack.spawn(
        "worker-signing", [*graylag, "worker", "--queues", "signing,housekeeping"], common | publisher
    )
    stack.spawn("worker-webhooks", [*graylag, "worker", "--queues", "webhooks"], common)
    stack.spawn("beat", [*graylag, "beat"], common)


def watch(stack: Stack) -> None:
    """Wait until the person, or the machine, has had enough.

    Raises:
        EmbeddedError: a process ended by itself; its log's end is in the message.
    """
    while True:
        name = stack.dead()
        if name is not None:
            raise EmbeddedError(f"{name} ended; the end of its log says:\n{stack.tail(name)}")
        time.sleep(WATCH_S)


@contextmanager
def terminating_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into the same orderly end as Ctrl-C; the block ends quietly on either."""
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2, trust_env=False).is_success
    except httpx2.HTTPError:
        return False


def _keys(directory: Path) -> Path:
    """Keys of this directory, made on the first start; a half-made set from a killed start goes first."""
    made = directory / "keys"
    if not made.exists():
        fresh = directory / "keys.new"
        for leftover in fresh.glob("*"):
            leftover.unlink()
        trust_files.create_all(fresh)
        secret = fresh / "access_token_secret"
        secret.touch(mode=0o600)
        secret.write_text(new_secret("acc"))
        fresh.chmod(0o700)
        fresh.rename(made)
    return made


def _credentials(directory: Path, database_url: str, key_directory: Path) -> tuple[str, str]:
    """Tokens of this directory, made on the first start; the same on each later one."""
    path = directory / "tokens.json"
    engine = database.engine_for(database_url)
    try:
        if not path.exists():
            suffix, now = os.urandom(4).hex(), utc_now()
            with database.transaction(engine) as session:
                trust.add(session, (key_directory / "trust.json").read_bytes(), actor="up", now=now)
                admin = access.create_api_token(session, f"up-{suffix}", "admin", actor="up", now=now)
                enrolment = enrolments.create_enrolment_token(session, f"up-{suffix}", actor="up", now=now)
            fresh = path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps({"admin": admin, "enrolment": enrolment}))
            fresh.rename(path)
        kept = json.loads(path.read_text())
    finally:
        engine.dispose()
    return kept["admin"], kept["enrolment"]


def credentials(running: Running) -> list[str]:
    """Lines for a shell in which `graylag` speaks to this service."""
    return [
        f"  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        f"  export GRAYLAG_URL={running.api_url} GRAYLAG_TOKEN={running.admin_token}",
    ]


def welcome(console: Console, running: Running) -> None:
    """Say what to type next; what is there to be copied is never broken into lines."""
    lines = [
        "",
        f"  Graylag is ready at {running.api_url}  (API reference: {running.api_url}/docs)",
        "",
        "  In a second terminal:",
        "",
        *credentials(running),
        "  graylag publish phone v1.0 --component weights=model.safetensors     # any file of yours",
        "  graylag cohort put everyone --rule '{}'",
        "  graylag rollout create --name first --model phone --version v1.0 --stage everyone:100",
        "  graylag rollout start first",
        "",
        f"  graylag-agent enroll --dir device --server {running.api_url} --trust {shlex.quote(str(running.trust))} \\",
        f"    --token {running.enrolment_token}",
        "  graylag-agent update --dir device",
        "",
        "  Ctrl-C stops everything; the data stays.",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
