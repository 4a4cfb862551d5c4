"""Whether a rollout has kept within its bounds: counted from the database's own rows, not by what devices remember."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.domain.cohorts import in_percent
from service.domain.policy import Pacing
from service.store.rollouts import RolloutRow

_OPEN = text(
    """
    select count(*) from attempts
    where rollout_id = :rollout and closed_at is null and not downloaded and action = 'install'
    """
)
_HOUR = text(
    """
    select coalesce(max(bytes), 0) from (
      select sum(bytes_offered) over (
        order by offered_at range between interval '3599.999999 seconds' preceding and current row) as bytes
      from attempts where rollout_id = :rollout and action = 'install'
    ) hours
    """
)
_GIVEN = text("select device_id, stage from attempts where rollout_id = :rollout and action = 'install'")


def open_downloads(session: Session, rollout: RolloutRow) -> int:
    """How many devices are on their way to the version now, as far as the server knows."""
    return int(session.scalar(_OPEN, {"rollout": rollout.id}) or 0)


def kept(session: Session, rollout: RolloutRow, pacing: Pacing, most_open: int) -> dict[str, Any]:
    """What the most was of everything that has a bound, and the bound.

    Args:
        session: to read all attempts with.
        rollout: whose.
        pacing: its bounds.
        most_open: the most that `open_downloads` has said.

    Returns:
        `outside_stage`: offers to devices that the percentage of their stage does not reach; and for each bound that
        there is the `most` and the `bound`. `exceeded` names those that were not kept.
    """
    found: dict[str, Any] = {"outside_stage": _outside(session, rollout)}
    if pacing.open_downloads is not None:
        found["open_downloads"] = {"most": most_open, "bound": pacing.open_downloads}
    if pacing.bytes_per_hour is not None:
        most = int(session.scalar(_HOUR, {"rollout": rollout.id}) or 0)
        found["bytes_per_hour"] = {"most": most, "bound": pacing.bytes_per_hour}
    over = [
        name for name, one in found.items() if (one["most"] > one["bound"] if isinstance(one, dict) else one)
    ]
    return found | {"exceeded": over}


def _outside(session: Session, rollout: RolloutRow) -> int:
    """Every offer again, against the bucket of its device."""
    percents = [stage.percent for stage in rollout.stages]
    given = session.execute(_GIVEN, {"rollout": rollout.id})
    return sum(not in_percent(rollout.salt, device_id, percents[stage]) for device_id, stage in given)
