"""Programs from installed wheels, and free ports on loopback."""

import errno
import importlib.util
import secrets
import socket
from pathlib import Path

from service.errors import UserFacingError


class EmbeddedError(UserFacingError):
    """A server did not start; the message names it and contains the end of its log."""


def wheel_directory(package: str) -> Path:
    """The directory of an installed wheel, without importing it, because only its programs are needed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"{package} is not installed; run pip install 'graylag[embedded]'")
    return Path(spec.origin).parent


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now, each with port + 10000 free too, because SeaweedFS uses both.

    All are below 32768, because operating systems use higher ports for outgoing connections.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = 10000 + secrets.randbelow(12000)
        if port not in ports and _is_port_free(port) and _is_port_free(port + 10000):
            ports.append(port)
    return ports


def is_port_in_use(port: int) -> bool:
    """Whether a process listens on a loopback port; connections in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
