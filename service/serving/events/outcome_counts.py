"""Counts closed attempts in `outcome_rollups`, by minute; gates, dashboards and forecasts read these instead of events."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.operations.outcomes.outcome_rollups import add_counts

ROLLUP_COLUMNS = {
    "committed": "committed",
    "failed": "failed",
    "rejected": "failed",
    "rolled_back": "rolled_back",
    "cancelled": "withdrawn",
    "superseded": "withdrawn",
}
"""Terminal state of an attempt -> the column of `outcome_rollups` that counts it."""
FAILURES = frozenset({"failed", "rolled_back"})
EARLY_WINDOW = timedelta(hours=1)
"""Devices that report this soon after the offer are fast, charged and on Wi-Fi, so they may not be representative."""

OUTCOME_COLUMNS = (
    "committed",
    "failed",
    "rolled_back",
    "withdrawn",
    "early_reports",
    "early_failures",
    "bytes_sent",
)
"""Columns that a closed attempt adds to."""

_CLOSED = f"""
  select * from unnest(
    cast(:rollouts as uuid[]), cast(:stages as int[]), cast(:device_classes as text[]), cast(:arms as text[]),
    cast(:minutes as timestamptz[]), {", ".join(f"cast(:{name} as bigint[])" for name in OUTCOME_COLUMNS)}
  )
"""  # noqa: S608 - built from constants
_ADD_OUTCOMES = text(add_counts(OUTCOME_COLUMNS, _CLOSED))


async def count_outcomes(connection: AsyncConnection, closed: Sequence[Any], now: datetime) -> None:
    """Add closed attempts to the rollups of the current minute.

    Args:
        connection: in the transaction that closes them.
        closed: rows of attempts; `state` is a key of `ROLLUP_COLUMNS`.
        now: the current time.
    """
    if not closed:
        return
    minute = now.replace(second=0, microsecond=0)
    cells: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for row in closed:
        cell = cells[row.rollout_id, row.stage, row.device_class, row.arm]
        outcome = ROLLUP_COLUMNS[row.state]
        cell[outcome] += 1
        if outcome != "withdrawn" and row.closed_at - row.offered_at <= EARLY_WINDOW:
            cell["early_reports"] += 1
            cell["early_failures"] += outcome in FAILURES
        cell["bytes_sent"] += row.bytes_sent
    ordered = sorted(cells.items(), key=lambda item: (str(item[0][0]), *item[0][1:]))
    columns: dict[str, list[Any]] = {
        "rollouts": [key[0] for key, _ in ordered],
        "stages": [key[1] for key, _ in ordered],
        "device_classes": [key[2] for key, _ in ordered],
        "arms": [key[3] for key, _ in ordered],
        "minutes": [minute for _ in ordered],
    }
    for name in OUTCOME_COLUMNS:
        columns[name] = [cell[name] for _, cell in ordered]
    await connection.execute(_ADD_OUTCOMES, columns)
