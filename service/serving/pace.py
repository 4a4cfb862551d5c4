"""The record of what paced rollouts have given, read and written under the locks of their rows."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.domain.pacing import HOUR_MINUTES, MINUTE, Ledger, minute_of
from service.domain.policy import Pacing

KEPT = timedelta(hours=3)
"""Of each rollout's record, so that clocks of servers may differ by more than they should."""

_OPEN = text(
    """
    select paced.id, (
      select count(*) from (
        select from attempts
        where rollout_id = paced.id and closed_at is null and not downloaded and action = 'install'
        limit paced.most
      ) as downloading
    ) as open
    from unnest(cast(:rollouts as uuid[]), cast(:most as bigint[])) as paced(id, most)
    where paced.most is not null
    """
)

_SPENT = text(
    "select rollout_id, minute, bytes from pace where rollout_id = any(:rollouts) and minute >= :since"
)

_BOOK = text(
    """
    with forgotten as (
      delete from pace where rollout_id = any(:rollouts) and minute < :kept_since
    )
    insert into pace (rollout_id, minute, bytes)
    select * from unnest(cast(:rollouts as uuid[]), cast(:minutes as timestamptz[]), cast(:bytes as bigint[]))
    on conflict (rollout_id, minute) do update set bytes = pace.bytes + excluded.bytes
    """
)


async def read(
    connection: AsyncConnection, paced: Mapping[UUID, Pacing], earliest: datetime
) -> dict[UUID, Ledger]:
    """The ledgers of paced rollouts.

    Args:
        connection: holds the locks of their rows, unless nothing is going to be booked.
        paced: rollout -> its bounds.
        earliest: of the moments at which something is to be booked.
    """
    if not paced:
        return {}
    rollouts = sorted(paced)
    most = [paced[key].open_downloads for key in rollouts]
    downloading = await connection.execute(_OPEN, {"rollouts": rollouts, "most": most})
    ledgers = {key: Ledger(paced[key]) for key in rollouts}
    for row in downloading:
        ledgers[row.id].open = row.open
    since = minute_of(earliest) - HOUR_MINUTES * MINUTE
    for row in await connection.execute(_SPENT, {"rollouts": rollouts, "since": since}):
        ledgers[row.rollout_id].spent[row.minute] = row.bytes
    return ledgers


async def write(connection: AsyncConnection, ledgers: Mapping[UUID, Ledger]) -> None:
    """Add what was booked to the record, and forget what is older than any bound looks back."""
    rows = [
        (key, minute, size)
        for key, ledger in sorted(ledgers.items())
        for minute, size in sorted(ledger.booked.items())
        if size
    ]
    if not rows:
        return
    await connection.execute(
        _BOOK,
        {
            "rollouts": [key for key, _, _ in rows],
            "minutes": [minute for _, minute, _ in rows],
            "bytes": [size for _, _, size in rows],
            "kept_since": min(minute for _, minute, _ in rows) - KEPT,
        },
    )
