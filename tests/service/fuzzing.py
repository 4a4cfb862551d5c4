"""How a long run of `make fuzz` goes, said while it goes, and what came of it: `pytest -p tests.service.fuzzing`."""

import os
import time
from collections import Counter

TRIED = Counter()
"""What was tried: name of the input -> how many changed ones."""
EVERY_S = 30.0
_said = time.monotonic()
_started = time.monotonic()


def note(name):
    """One more was tried; now and then that is said, past pytest's capture, when somebody may be waiting."""
    global _said  # noqa: PLW0603 - the one clock of one process
    TRIED[name] += 1
    if os.environ.get("GRAYLAG_FUZZ_SECONDS") and time.monotonic() - _said > EVERY_S:
        _said = time.monotonic()
        passed = int(_said - _started)
        os.write(2, f"  {passed:5} s  {sum(TRIED.values()):9,} tried, now {name}\n".encode())


def pytest_runtest_logstart(nodeid, location):
    """Say what comes next."""
    del location
    os.write(2, f"  {int(time.monotonic() - _started):5} s  {nodeid.rpartition('::')[2]}\n".encode())


def pytest_terminal_summary(terminalreporter):
    """What was tried, and how often."""
    terminalreporter.section("fuzzing")
    for name, number in sorted(TRIED.items()):
        terminalreporter.write_line(f"{number:12,}  {name}")
    failed = len(terminalreporter.stats.get("failed", ()))
    seconds = int(time.monotonic() - _started)
    terminalreporter.write_line(
        f"{sum(TRIED.values()):12,}  in {seconds} s; {failed} of the properties did not hold"
    )
