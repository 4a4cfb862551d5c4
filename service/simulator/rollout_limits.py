"""Check that a rollout kept its limits, from the rows of the database and not from what devices remember."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.domain.rollouts.policy import Pacing
from service.domain.targeting.buckets import in_percent
from service.store.distribution.rollouts import RolloutRow

_OPEN_DOWNLOADS = text(
    """
    select count(*) from attempts
    where rollout_id = :rollout and closed_at is null and not downloaded and action = 'install'
    """
)
_MAX_BYTES_IN_AN_HOUR = text(
    """
    select coalesce(max(bytes), 0) from (
      select sum(bytes_offered) over (
        order by offered_at range between interval '3599.999999 seconds' preceding and current row) as bytes
      from attempts where rollout_id = :rollout and action = 'install'
    ) hours
    """
)
_OFFERS = text("select device_id, stage from attempts where rollout_id = :rollout and action = 'install'")


def count_open_downloads(session: Session, rollout: RolloutRow) -> int:
    """How many devices are downloading the version now, as far as the server knows."""
    return int(session.scalar(_OPEN_DOWNLOADS, {"rollout": rollout.id}) or 0)


def check_limits(session: Session, rollout: RolloutRow, pacing: Pacing, observed_open: int) -> dict[str, Any]:
    """Compare a rollout with its limits.

    Args:
        session: open session.
        rollout: the rollout.
        pacing: its pacing policy.
        observed_open: the highest result of `count_open_downloads`.

    Returns:
        `outside_stage`: number of offers to devices outside the percentage of their stage. For each limit of the
        policy: `observed` and `limit`. `exceeded`: names of the limits that were exceeded.
    """
    found: dict[str, Any] = {"outside_stage": _count_offers_outside_stage(session, rollout)}
    if pacing.max_open_downloads is not None:
        found["max_open_downloads"] = {"observed": observed_open, "limit": pacing.max_open_downloads}
    if pacing.max_bytes_per_hour is not None:
        observed = int(session.scalar(_MAX_BYTES_IN_AN_HOUR, {"rollout": rollout.id}) or 0)
        found["max_bytes_per_hour"] = {"observed": observed, "limit": pacing.max_bytes_per_hour}
    exceeded = [
        name
        for name, value in found.items()
        if (value["observed"] > value["limit"] if isinstance(value, dict) else value)
    ]
    return found | {"exceeded": exceeded}


def _count_offers_outside_stage(session: Session, rollout: RolloutRow) -> int:
    percents = [stage.percent for stage in rollout.stages]
    offers = session.execute(_OFFERS, {"rollout": rollout.id})
    return sum(not in_percent(rollout.salt, device_id, percents[stage]) for device_id, stage in offers)
