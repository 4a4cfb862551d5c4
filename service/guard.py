"""Ends the processes of an embedded stack when the process that started them is gone, however it went.

Reads `PID SIGNAL` lines from standard input and, when the pipe closes, stops each of those process
groups, last started first. It is started by `embedded.Stack` and holds the stack's lock until all
are gone, so that the next start finds a clean place. A pipe works on every POSIX system and
survives SIGKILL of the parent, which signal handlers and `atexit` do not.
"""

import os
import signal
import sys
import time

PATIENCE_S = 3.0


def main() -> None:
    """Collect process groups until the pipe closes, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = [(int(pid), int(ending)) for pid, ending in (line.split() for line in sys.stdin)]
    for group, ending in reversed(groups):
        _send(group, ending)
    deadline = time.monotonic() + PATIENCE_S
    while any(_alive(group) for group, _ in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group, _ in groups:
        _send(group, signal.SIGKILL)


def _alive(group: int) -> bool:
    return _send(group, 0)


def _send(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
