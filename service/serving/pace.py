"""The record of what paced rollouts have given, read and written under the locks of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

_CHARGE = text(
    """
    with excess as (
      select * from unnest(cast(:rollouts as uuid[]), cast(:versions as bigint[]), cast(:offered as bigint[]),
                           cast(:before as bigint[]), cast(:sent as bigint[]))
        as excess(rollout_id, version_id, offered, before, sent)
    ), charged as (
      select excess.rollout_id,
        least(sent, offered + files.bytes) - least(greatest(before, offered), offered + files.bytes) as bytes
      from excess
      join rollouts on rollouts.id = excess.rollout_id and rollouts.policy -> 'pacing' ->> 'bytes_per_hour' is not null
      cross join lateral (
        select max(whole.bytes) as bytes from (
          select sum(blob.size) as bytes
          from variants variant
          join components component on component.variant_id = variant.id
          join blobs blob on blob.sha256 = component.blob_sha256
          where variant.version_id = excess.version_id group by variant.id
        ) whole
      ) files
    )
    insert into pace (rollout_id, minute, bytes)
    select rollout_id, :minute, sum(bytes) from charged where bytes > 0 group by 1 order by 1
    on conflict (rollout_id, minute) do update set bytes = pace.bytes + excluded.bytes
    """
)
"""At most all files once more, whatever a device says: none can spend the budget of the others."""

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


@dataclass(frozen=True, slots=True)
class Excess:
    """A device that has fetched more than it was offered.

    Attributes:
        offered: bytes that its attempt has taken from the budget.
        before: what it had told until now, in all.
        sent: what it tells now.
    """

    rollout_id: UUID
    version_id: int
    offered: int
    before: int
    sent: int


async def charge(connection: AsyncConnection, excesses: Sequence[Excess], now: datetime) -> None:
    """Take from the budgets what devices have fetched beyond their offers; later offers make room for it."""
    if excesses:
        values = {
            "rollouts": [item.rollout_id for item in excesses],
            "versions": [item.version_id for item in excesses],
            "offered": [item.offered for item in excesses],
            "before": [item.before for item in excesses],
            "sent": [item.sent for item in excesses],
        }
        await connection.execute(_CHARGE, values | {"minute": minute_of(now)})


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
