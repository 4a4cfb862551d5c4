"""Ends the processes of an embedded stack when the process that started them is gone, even if it was killed.

Reads `PID SIGNAL` lines from standard input. When the pipe closes, it stops each of those process groups, last started
first. `embedded.Stack` starts it. It holds the lock of the stack until all groups are gone, so that the next start finds a
clean directory. A pipe works on every POSIX system and notices SIGKILL of the parent, unlike signal handlers and `atexit`.
"""

import os
import signal
import sys
import time

STOP_TIMEOUT_S = 3.0


def main() -> None:
    """Read process groups until the pipe closes, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = [(int(pid), int(stop_signal)) for pid, stop_signal in (line.split() for line in sys.stdin)]
    for group, stop_signal in reversed(groups):
        _send(group, stop_signal)
    deadline = time.monotonic() + STOP_TIMEOUT_S
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
