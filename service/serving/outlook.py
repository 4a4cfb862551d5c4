"""When a rollout that is on its way will be done: what is left, from the preview, at the pace of the last hour."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.pacing import Progress, forecast
from service.domain.policy import Pacing, parse_policy
from service.serving.preview import Settings, open_share, preview
from service.serving.snapshot import Snapshot

LOOKED_BACK = timedelta(hours=1)
LEAST = timedelta(minutes=5)
"""A rollout younger than that has no pace yet: it is taken to be as old."""


def outlook(
    session: Session,
    snapshot: Snapshot,
    row: store.rollouts.RolloutRow,
    *,
    now: datetime,
    settings: Settings,
) -> dict[str, Any]:
    """Devices and bytes left in the open stages and in later ones, and when the open ones are done as it goes now.

    Args:
        session: a `read_only` one.
        snapshot: what polls are answered from.
        row: the rollout.
        now: the moment.
        settings: what the service is set to.

    Raises:
        VersionNotReady: polls do not know the version.
    """
    stages = preview(session, snapshot, row, now=now, settings=settings, listed=0)["stages"]
    opened = len(stages) if row.state == "completed" else row.stage + 1
    policy = parse_policy(row.policy)
    progress = Progress(
        devices_left=sum(stage["devices"] for stage in stages[:opened]),
        bytes_left=sum(stage["bytes"] for stage in stages[:opened]),
        per_hour=_per_hour(session, row, now),
        slots_full=_slots_full(session, row, policy.pacing),
        open_share=open_share(policy.windows),
    )
    return {
        "devices_left": progress.devices_left,
        "bytes_left": progress.bytes_left,
        "devices_later": sum(stage["devices"] for stage in stages[opened:]),
        **asdict(forecast(policy.pacing, progress, now)),
    }


def _per_hour(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> float:
    since = max(now - LOOKED_BACK, row.started_at or now)
    offered = store.attempts.offered_since(session, row.id, since.replace(second=0, microsecond=0))
    return offered / (max(now - since, LEAST) / timedelta(hours=1))


def _slots_full(session: Session, row: store.rollouts.RolloutRow, pacing: Pacing) -> bool:
    most = pacing.open_downloads
    return most is not None and store.attempts.downloading(session, row.id, at_most=most) >= most
