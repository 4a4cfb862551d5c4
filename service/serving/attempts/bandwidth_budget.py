"""The bytes that paced rollouts have used, by minute; read and written under the locks of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.domain.rollouts.pacing import HOUR_MINUTES, MINUTE, PacingBudget, minute_of
from service.domain.rollouts.policy import Pacing

RETENTION = timedelta(hours=3)
"""How long usage is kept; more than an hour, so that the clocks of servers may differ."""

_COUNT_DOWNLOADS = text(
    """
    select paced.id, (
      select count(*) from (
        select from attempts
        where rollout_id = paced.id and closed_at is null and not downloaded and action = 'install'
        limit paced.max_open
      ) as downloading
    ) as open
    from unnest(cast(:rollouts as uuid[]), cast(:max_open as bigint[])) as paced(id, max_open)
    where paced.max_open is not null
    """
)

_SELECT_USAGE = text(
    "select rollout_id, minute, bytes from bandwidth_usage where rollout_id = any(:rollouts) and minute >= :since"
)

_INSERT_OVERRUNS = text(
    """
    with overrun as (
      select * from unnest(cast(:rollouts as uuid[]), cast(:versions as bigint[]), cast(:offered as bigint[]),
                           cast(:before as bigint[]), cast(:sent as bigint[]))
        as overrun(rollout_id, version_id, offered, before, sent)
    ), charged as (
      select overrun.rollout_id,
        least(sent, offered + files.bytes) - least(greatest(before, offered), offered + files.bytes) as bytes
      from overrun
      join rollouts on rollouts.id = overrun.rollout_id and rollouts.policy -> 'pacing' ->> 'max_bytes_per_hour' is not null
      cross join lateral (
        select max(whole.bytes) as bytes from (
          select sum(blob.size) as bytes
          from variants variant
          join components component on component.variant_id = variant.id
          join blobs blob on blob.sha256 = component.blob_sha256
          where variant.version_id = overrun.version_id group by variant.id
        ) whole
      ) files
    )
    insert into bandwidth_usage (rollout_id, minute, bytes)
    select rollout_id, :minute, sum(bytes) from charged where bytes > 0 group by 1 order by 1
    on conflict (rollout_id, minute) do update set bytes = bandwidth_usage.bytes + excluded.bytes
    """
)
"""Charges at most the size of all files, so that no device can use up the budget with false reports."""

_INSERT_RESERVATIONS = text(
    """
    with expired as (
      delete from bandwidth_usage where rollout_id = any(:rollouts) and minute < :kept_since
    )
    insert into bandwidth_usage (rollout_id, minute, bytes)
    select * from unnest(cast(:rollouts as uuid[]), cast(:minutes as timestamptz[]), cast(:bytes as bigint[]))
    on conflict (rollout_id, minute) do update set bytes = bandwidth_usage.bytes + excluded.bytes
    """
)


async def read_budgets(
    connection: AsyncConnection, paced: Mapping[UUID, Pacing], earliest: datetime
) -> dict[UUID, PacingBudget]:
    """The budgets of paced rollouts.

    Args:
        connection: must hold the locks of the rollouts' rows if anything is going to be reserved.
        paced: rollout id -> its limits.
        earliest: the earliest time at which anything is going to be reserved.
    """
    if not paced:
        return {}
    rollouts = sorted(paced)
    max_open = [paced[key].max_open_downloads for key in rollouts]
    downloading = await connection.execute(_COUNT_DOWNLOADS, {"rollouts": rollouts, "max_open": max_open})
    budgets = {key: PacingBudget(paced[key]) for key in rollouts}
    for row in downloading:
        budgets[row.id].open_downloads = row.open
    since = minute_of(earliest) - HOUR_MINUTES * MINUTE
    for row in await connection.execute(_SELECT_USAGE, {"rollouts": rollouts, "since": since}):
        budgets[row.rollout_id].bytes_by_minute[row.minute] = row.bytes
    return budgets


@dataclass(frozen=True, slots=True)
class BandwidthOverrun:
    """A device that downloaded more than it was offered, because a patch failed and the full file followed.

    Attributes:
        bytes_offered: what its attempt reserved in the budget.
        bytes_before: total that it had reported before.
        bytes_sent: total that it reports now.
    """

    rollout_id: UUID
    version_id: int
    bytes_offered: int
    bytes_before: int
    bytes_sent: int


async def charge_overruns(
    connection: AsyncConnection, overruns: Sequence[BandwidthOverrun], now: datetime
) -> None:
    """Charge the budgets for downloads beyond the offers; later offers wait for it."""
    if overruns:
        values = {
            "rollouts": [item.rollout_id for item in overruns],
            "versions": [item.version_id for item in overruns],
            "offered": [item.bytes_offered for item in overruns],
            "before": [item.bytes_before for item in overruns],
            "sent": [item.bytes_sent for item in overruns],
        }
        await connection.execute(_INSERT_OVERRUNS, values | {"minute": minute_of(now)})


async def write_reservations(connection: AsyncConnection, budgets: Mapping[UUID, PacingBudget]) -> None:
    """Store what was reserved, and delete usage older than `RETENTION`."""
    rows = [
        (key, minute, size)
        for key, budget in sorted(budgets.items())
        for minute, size in sorted(budget.reserved_by_minute.items())
        if size
    ]
    if not rows:
        return
    await connection.execute(
        _INSERT_RESERVATIONS,
        {
            "rollouts": [key for key, _, _ in rows],
            "minutes": [minute for _, minute, _ in rows],
            "bytes": [size for _, _, size in rows],
            "kept_since": min(minute for _, minute, _ in rows) - RETENTION,
        },
    )
