"""Ends of attempts, counted in rollups by the minute: what gates, dashboards and forecasts read instead of events."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

OUTCOMES = {
    "committed": "committed",
    "failed": "failed",
    "rejected": "failed",
    "rolled_back": "rolled_back",
    "cancelled": "withdrawn",
    "superseded": "withdrawn",
}
"""Terminal state -> the rollup column that counts it."""
BAD = frozenset({"failed", "rolled_back"})
EARLY = timedelta(hours=1)
"""Who reports within so long of the offer is fast, charged and on Wi-Fi, and may be unlike the others."""

COUNTED = ("committed", "failed", "rolled_back", "withdrawn", "early", "early_bad", "bytes_sent")
"""Columns of rollups that the end of an attempt adds to."""

_COUNT = text(
    f"""
    insert into rollups (rollout_id, stage, stratum, arm, minute, {", ".join(COUNTED)})
    select * from unnest(
      cast(:rollouts as uuid[]), cast(:stages as int[]), cast(:strata as text[]), cast(:arms as text[]),
      cast(:minutes as timestamptz[]), {", ".join(f"cast(:{name} as bigint[])" for name in COUNTED)}
    )
    on conflict (rollout_id, stage, stratum, arm, minute) do update set
      {", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in COUNTED)}
    """  # noqa: S608 - built from constants
)


async def count(connection: AsyncConnection, closed: Sequence[Any], now: datetime) -> None:
    """Add attempts that have been closed to the rollups of this minute.

    Args:
        connection: in the transaction that closes them.
        closed: rows of attempts, with `state` one of `OUTCOMES`.
        now: the minute's.
    """
    if not closed:
        return
    minute = now.replace(second=0, microsecond=0)
    cells: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for row in closed:
        cell = cells[row.rollout_id, row.stage, row.stratum, row.arm]
        outcome = OUTCOMES[row.state]
        cell[outcome] += 1
        if outcome != "withdrawn" and row.closed_at - row.offered_at <= EARLY:
            cell["early"] += 1
            cell["early_bad"] += outcome in BAD
        cell["bytes_sent"] += row.bytes_sent
    ordered = sorted(cells.items(), key=lambda item: (str(item[0][0]), *item[0][1:]))
    columns: dict[str, list[Any]] = {
        "rollouts": [key[0] for key, _ in ordered],
        "stages": [key[1] for key, _ in ordered],
        "strata": [key[2] for key, _ in ordered],
        "arms": [key[3] for key, _ in ordered],
        "minutes": [minute for _ in ordered],
    }
    for name in COUNTED:
        columns[name] = [cell[name] for _, cell in ordered]
    await connection.execute(_COUNT, columns)
