"""Rollouts that would pull the same devices in two directions: the later one is not started. Reads only.

Polls ask rollouts of one priority newest version first, so a newer version that starts over an older one is
resolved cleanly: its devices get the newer one, all others go on with the older. What is refused at the same priority,
for cohorts that may share devices, is the same version twice (two sets of stages and gates for one thing) and a
version below one that is on its way (most of its devices would never get it, and its stages would not fill).
"""

from collections.abc import Iterator, Sequence
from itertools import product

from sqlalchemy.orm import Session

from service import store
from service.domain.overlap import apart
from service.errors import RolloutsFight


def require_peace(session: Session, row: store.rollouts.RolloutRow) -> None:
    """Refuse to let a rollout run beside one that it would fight.

    Raises:
        RolloutsFight: says which one, and what to change.
    """
    own = store.versions.version_by_id(session, row.version_id)
    for rival in store.rollouts.rivals(session, row):
        other = store.versions.version_by_id(session, rival.version_id)
        if own is None or other is None or other.counter < own.counter:
            continue
        shared = next(_shared(session, row.stages, rival.stages), None)
        if shared is not None:
            same = "the same version" if other.id == own.id else f"the newer {other.label}"
            raise RolloutsFight(
                f"{rival.name} is {rival.state} with {same} for {shared}, at the same priority {rival.priority}: "
                f"halt {rival.name}, or write this rollout with another priority or with cohorts that share no device",
                field="priority",
                rollout=rival.name,
            )


def _shared(
    session: Session, own: Sequence[store.rollouts.StageRow], other: Sequence[store.rollouts.StageRow]
) -> Iterator[str]:
    """Cohorts that may share devices, in words."""
    pairs = product(
        sorted({stage.cohort for stage in own}),
        sorted({stage.cohort for stage in other}),
    )
    for name, rival in pairs:
        if name == rival:
            yield name
        elif not _apart(session, name, rival):
            yield f"{rival}, which may share devices with {name}"


def _apart(session: Session, name: str, rival: str) -> bool:
    one, other = store.cohorts.cohort(session, name), store.cohorts.cohort(session, rival)
    if one is None or other is None:
        return False
    if one.rule is None and other.rule is None:
        return not store.cohorts.share_members(session, name, rival)
    if one.rule is None or other.rule is None:
        return False
    listed = store.cohorts.member_counts(session)
    return not (listed.get(name) or listed.get(rival)) and apart(one.rule, other.rule)
