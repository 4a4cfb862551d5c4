"""Forecasts when a running rollout completes: what is left, from the preview, at the rate of the last hour."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts.forecast import RolloutProgress, forecast
from service.domain.rollouts.policy import Pacing, parse_policy
from service.serving.previews.preview import PreviewSettings, preview
from service.serving.previews.sections import open_share
from service.serving.snapshots.snapshot import Snapshot

RATE_WINDOW = timedelta(hours=1)
MIN_RATE_WINDOW = timedelta(minutes=5)
"""The rate of a younger rollout is computed as if it were this old."""


def forecast_completion(
    session: Session,
    snapshot: Snapshot,
    row: store.rollouts.RolloutRow,
    *,
    now: datetime,
    settings: PreviewSettings,
) -> dict[str, Any]:
    """Devices and bytes left in the open stages and in later ones, and when the open stages will be done.

    Args:
        session: a `read_only` session.
        snapshot: what polls are decided from.
        row: the rollout.
        now: the current time.
        settings: the settings that previews depend on.

    Raises:
        VersionNotReady: the snapshot does not contain the version or a cohort.
    """
    stages = preview(session, snapshot, row, now=now, settings=settings, listed_devices=0)["stages"]
    opened = len(stages) if row.state == "completed" else row.stage + 1
    policy = parse_policy(row.policy)
    progress = RolloutProgress(
        devices_left=sum(stage["devices"] for stage in stages[:opened]),
        bytes_left=sum(stage["bytes"] for stage in stages[:opened]),
        per_hour=_devices_per_hour(session, row, now),
        slots_full=_download_slots_full(session, row, policy.pacing),
        open_share=open_share(policy.windows),
    )
    return {
        "devices_left": progress.devices_left,
        "bytes_left": progress.bytes_left,
        "devices_later": sum(stage["devices"] for stage in stages[opened:]),
        **asdict(forecast(policy.pacing, progress, now)),
    }


def _devices_per_hour(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> float:
    since = max(now - RATE_WINDOW, row.started_at or now)
    offered = store.attempts.offered_since(session, row.id, since.replace(second=0, microsecond=0))
    return offered / (max(now - since, MIN_RATE_WINDOW) / timedelta(hours=1))


def _download_slots_full(session: Session, row: store.rollouts.RolloutRow, pacing: Pacing) -> bool:
    limit = pacing.max_open_downloads
    return limit is not None and store.attempts.count_downloading(session, row.id, at_most=limit) >= limit
