"""A bar and a live table on standard error, and the same table for the end."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

REDRAW_S = 0.25


class Progress:
    """What is shown while it lasts; nothing where standard error is no terminal."""

    def __init__(self, result: Callable[[], dict[str, Any]], until_s: float) -> None:
        """Show the figures of `result`, on the way to that many simulated seconds."""
        self._result, self._until_s = result, until_s
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Clear the place."""
        self._live.stop()

    async def look(self) -> None:
        """Redraw, if the last time was long enough ago."""
        if not self._shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REDRAW_S
        result = self._result()
        done = min(1.0, result["simulated_hours"] * 3600 / self._until_s)
        self._live.update(Group(ProgressBar(total=1.0, completed=done), table(result)))


def table(result: Mapping[str, Any]) -> Table:
    """The figures, one in a row."""
    shown = Table(show_header=False, title=f"{result['devices']:,} devices", title_justify="left")
    for name, value in result.items():
        shown.add_row(name.replace("_", " "), _said(value))
    return shown


def _said(value: Any) -> str:
    """A figure, or several, for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(_said(one) for one in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
