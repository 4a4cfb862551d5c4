"""A progress bar and a live table on standard error, and the table of the final result."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

REFRESH_INTERVAL_S = 0.25


class Progress:
    """Live progress of a simulation; shows nothing if standard error is not a terminal."""

    def __init__(self, result: Callable[[], dict[str, Any]], duration_s: float) -> None:
        """Show what `result` returns, until `duration_s` simulated seconds have passed."""
        self._result, self._duration_s = result, duration_s
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self._enabled = sys.stderr.isatty()
        self._next_refresh = 0.0

    def __enter__(self) -> Self:
        """Start the display."""
        if self._enabled:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Clear the display."""
        self._live.stop()

    async def refresh(self) -> None:
        """Redraw, unless the last time was less than `REFRESH_INTERVAL_S` ago."""
        if not self._enabled or time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + REFRESH_INTERVAL_S
        result = self._result()
        completed = min(1.0, result["simulated_hours"] * 3600 / self._duration_s)
        self._live.update(Group(ProgressBar(total=1.0, completed=completed), result_table(result)))


def result_table(result: Mapping[str, Any]) -> Table:
    """A result as a table, one row per figure."""
    table = Table(show_header=False, title=f"{result['devices']:,} devices", title_justify="left")
    for name, value in result.items():
        table.add_row(name.replace("_", " "), _format_value(value))
    return table


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_format_value(one)}" for key, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(_format_value(one) for one in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
