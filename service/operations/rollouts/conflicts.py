"""Conflicts between rollouts that would offer different things to the same devices. Reads only.

At equal priority, polls offer the newest version first. A newer version may therefore start while an older one is
rolled out: its devices get the newer one, all others continue with the older one. Two cases are refused for cohorts that
may share devices: the same version twice, because two sets of stages and gates would decide on it, and an older version
than one that is being rolled out, because most of its devices would never get it.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from sqlalchemy.orm import Session

from service import store
from service.domain.targeting.overlap import disjoint
from service.errors import RolloutConflict


def require_none(session: Session, row: store.rollouts.RolloutRow) -> None:
    """Check that a rollout can run together with all that run or are paused.

    Raises:
        RolloutConflict: it cannot; the message names the other rollout and what to change.
    """
    own = store.versions.version_by_id(session, row.version_id)
    for competitor in store.rollouts.competing(session, row):
        other = store.versions.version_by_id(session, competitor.version_id)
        if own is None or other is None or other.counter < own.counter:
            continue
        shared = next(_overlaps(session, row.stages, competitor.stages), None)
        if shared is not None:
            version = "the same version" if other.id == own.id else f"the newer version {other.label}"
            raise RolloutConflict(
                f"{competitor.name} is {competitor.state} with {version} for {shared}, at the same priority "
                f"{competitor.priority}; halt {competitor.name}, or give this rollout another priority or cohorts "
                "that share no device",
                field="priority",
                rollout=competitor.name,
            )


def _overlaps(
    session: Session,
    own: Sequence[store.rollouts.StageRow],
    other: Sequence[store.rollouts.StageRow],
) -> Iterator[str]:
    """Describe each pair of cohorts that may share devices."""
    pairs = product(sorted({stage.cohort for stage in own}), sorted({stage.cohort for stage in other}))
    for name, other_name in pairs:
        if name == other_name:
            yield name
        elif not _disjoint(session, name, other_name):
            yield f"{other_name}, which may share devices with {name}"


def _disjoint(session: Session, name: str, other_name: str) -> bool:
    one, other = store.cohorts.cohort(session, name), store.cohorts.cohort(session, other_name)
    if one is None or other is None:
        return False
    if one.rule is None and other.rule is None:
        return not store.cohorts.have_common_member(session, name, other_name)
    if one.rule is None or other.rule is None:
        return False
    members = store.cohorts.member_counts(session)
    return not (members.get(name) or members.get(other_name)) and disjoint(one.rule, other.rule)
