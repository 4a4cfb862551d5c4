"""Progress and totals of long fuzzing runs (`make fuzz`): `pytest -p tests.service.support.fuzzing`."""

import os
import time
from collections import Counter

MUTATIONS: Counter[str] = Counter()
"""Name of the input -> number of mutations tried."""
PROGRESS_INTERVAL_S = 30.0
_last_progress = time.monotonic()
_started = time.monotonic()


def count_mutation(name):
    """Count one mutation; during long runs, print progress past pytest's capture."""
    global _last_progress  # noqa: PLW0603 - the one clock of one process
    MUTATIONS[name] += 1
    if os.environ.get("GRAYLAG_FUZZ_SECONDS") and time.monotonic() - _last_progress > PROGRESS_INTERVAL_S:
        _last_progress = time.monotonic()
        elapsed = int(_last_progress - _started)
        os.write(2, f"  {elapsed:5} s  {sum(MUTATIONS.values()):9,} tried, now {name}\n".encode())


def pytest_runtest_logstart(nodeid, location):
    """Print the name of the next test."""
    del location
    os.write(2, f"  {int(time.monotonic() - _started):5} s  {nodeid.rpartition('::')[2]}\n".encode())


def pytest_terminal_summary(terminalreporter):
    """Print how many mutations were tried."""
    terminalreporter.section("fuzzing")
    for name, number in sorted(MUTATIONS.items()):
        terminalreporter.write_line(f"{number:12,}  {name}")
    failed = len(terminalreporter.stats.get("failed", ()))
    seconds = int(time.monotonic() - _started)
    terminalreporter.write_line(f"{sum(MUTATIONS.values()):12,}  in {seconds} s; {failed} properties failed")
