"""What the embedded servers need of this machine: their programs, from wheels, and ports on loopback."""

import errno
import importlib.util
import secrets
import socket
from pathlib import Path

from service.errors import Refusal


class EmbeddedError(Refusal):
    """A server did not start; the message names it, its log and the last lines of it."""


def wheel(package: str) -> Path:
    """Where a wheel keeps its programs; it is not imported, we want the server and not its wrapper."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"{package} is not installed; pip install 'graylag[embedded]'")
    return Path(spec.origin).parent


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now, each with port + 10000 free too (SeaweedFS takes both).

    All below 32768, where systems begin to take ports for connections that go out: one of those might come first.
    """
    found: list[int] = []
    while len(found) < count:
        port = 10000 + secrets.randbelow(12000)
        if port not in found and _is_free(port) and _is_free(port + 10000):
            found.append(port)
    return found


def is_taken(port: int) -> bool:
    """Whether somebody listens on a loopback port; what is left of connections that have ended is nobody."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
