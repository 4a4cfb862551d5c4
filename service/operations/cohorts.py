"""Cohorts: named parts of the fleet. Writes `cohorts` and `cohort_members`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Text, bindparam, delete, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from service import store
from service.domain.cohorts import Predicate, compile_rule
from service.domain.fleet import lens
from service.errors import InvalidRule, NotFound, StillInUse
from service.operations import audit
from service.store import fleet

SILENT_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CohortDeclaration:
    """A cohort as an operator writes it: everyone whom the rule means, and everyone on the list.

    Attributes:
        rule: JSON rule; None for a list alone; `{}` for everyone.
        devices: ids on the list; None to leave the list as it is.
    """

    name: str
    rule: dict[str, Any] | None = None
    devices: Sequence[str] | None = None
    description: str = ""


def put(
    session: Session, declaration: CohortDeclaration, *, actor: str, now: datetime
) -> store.cohorts.CohortRow:
    """Make a cohort, or change it; a running rollout follows at once.

    Raises:
        InvalidRule: the rule cannot be read, or cohorts name each other in a circle.
    """
    _check(session, declaration)
    row = store.cohorts.cohort(session, declaration.name, lock=True)
    if row is None:
        row = store.cohorts.CohortRow(name=declaration.name)
        session.add(row)
    row.rule, row.description, row.updated_at = declaration.rule, declaration.description, now
    session.flush()
    if declaration.devices is not None:
        _replace_members(session, declaration.name, declaration.devices)
    audit.record(
        session,
        actor=actor,
        verb="cohort.put",
        subject=f"cohort:{declaration.name}",
        now=now,
        detail={"rule": declaration.rule, "listed": len(declaration.devices or ())},
    )
    return row


def require(session: Session, name: str) -> store.cohorts.CohortRow:
    """A cohort by its name.

    Raises:
        NotFound: there is none.
    """
    row = store.cohorts.cohort(session, name)
    if row is None:
        raise NotFound(f"there is no cohort {name!r}", field="cohort")
    return row


def remove(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Remove a cohort that no rollout names.

    Raises:
        NotFound: there is none.
        StillInUse: a rollout, a template or another cohort's rule names it.
    """
    row = require(session, name)
    uses = store.cohorts.uses_of_cohort(session, name)
    if uses:
        raise StillInUse(f"{uses} stages of rollouts name {name!r}")
    templates = store.templates.naming_cohort(session, name)
    if templates:
        raise StillInUse(f"the templates {', '.join(templates)} name {name!r}")
    others = [other.name for other in store.cohorts.cohorts(session) if name in named_in(other.rule)]
    if others:
        raise StillInUse(f"the rules of {', '.join(others)} name {name!r}")
    session.delete(row)
    audit.record(session, actor=actor, verb="cohort.remove", subject=f"cohort:{name}", now=now)


def compile_all(
    rows: Sequence[store.cohorts.CohortRow], members: dict[str, frozenset[str]]
) -> dict[str, Predicate]:
    """A predicate for each cohort, named ones resolved whatever their order.

    Raises:
        InvalidRule: cohorts name each other in a circle, or one that is not there.
    """
    done, faults = compile_readable(rows, members)
    for fault in faults.values():
        raise fault
    return done


def compile_readable(
    rows: Sequence[store.cohorts.CohortRow], members: dict[str, frozenset[str]]
) -> tuple[dict[str, Predicate], dict[str, InvalidRule]]:
    """A predicate for each cohort that can be read, and what is wrong with each of the others."""
    waiting = {row.name: row for row in rows}
    done: dict[str, Predicate] = {}
    faults: dict[str, InvalidRule] = {}
    while ready := [name for name, row in waiting.items() if named_in(row.rule) <= done.keys()]:
        for name in ready:
            try:
                done[name] = _predicate(waiting.pop(name).rule, members.get(name), done)
            except InvalidRule as fault:
                faults[name] = fault
    stuck = f"cohorts in a circle, or naming absent ones: {', '.join(sorted(waiting))}"
    return done, faults | {name: InvalidRule(stuck, field="rule") for name in waiting}


def _predicate(rule: Any, listed: frozenset[str] | None, done: dict[str, Predicate]) -> Predicate:
    by_rule = compile_rule(rule, done) if rule is not None else None
    if by_rule is None:
        members = listed or frozenset()
        return lambda device_id, _attributes: device_id in members
    if not listed:
        return by_rule
    return lambda device_id, attributes: device_id in listed or by_rule(device_id, attributes)


def named_in(rule: Any) -> set[str]:
    """The cohorts that a rule names, at any depth, whether there are such or not."""
    if isinstance(rule, dict):
        own = {rule["cohort"]} if isinstance(rule.get("cohort"), str) else set()
        return own.union(*(named_in(value) for value in rule.values()))
    if isinstance(rule, list):
        return set().union(*(named_in(value) for value in rule))
    return set()


def _check(session: Session, declaration: CohortDeclaration) -> None:
    others = [row for row in store.cohorts.cohorts(session) if row.name != declaration.name]
    known: dict[str, Predicate] = {row.name: lambda _id, _attributes: False for row in others}
    if declaration.rule is not None:
        compile_rule(declaration.rule, known)
    changed = store.cohorts.CohortRow(name=declaration.name, rule=declaration.rule)
    compile_all([*others, changed], {})


def _replace_members(session: Session, name: str, devices: Sequence[str]) -> None:
    """Only what differs is written: of a list of 100,000, a few have changed since yesterday."""
    table = store.cohorts.CohortMemberRow
    wanted, listed = set(devices), store.cohorts.members_of(session, name)
    gone, fresh = sorted(listed - wanted), sorted(wanted - listed)
    if gone:
        session.execute(delete(table).where(table.cohort == name, table.device_id == func.any(_ids(gone))))
    if fresh:
        rows = select(literal(name), func.unnest(_ids(fresh)))
        session.execute(insert(table).from_select(["cohort", "device_id"], rows))


def _ids(devices: Sequence[str]) -> BindParameter[Sequence[str]]:
    """One parameter, however many there are."""
    return bindparam(None, devices, ARRAY(Text))


def size(session: Session, row: store.cohorts.CohortRow, *, now: datetime) -> dict[str, int]:
    """How many devices a cohort means now, of all that have enrolled and are in service, in groups as in a preview.

    Returns:
        `devices`, and of these `silent`, which have not been heard of for a week.

    Raises:
        InvalidRule: it names a cohort that is not there.
    """
    rows = store.cohorts.cohorts(session)
    wanted: dict[str, Any] = {"cohort": row.name}
    looked_at = lens(
        [wanted], {item.name: item.rule for item in rows}, listed=store.cohorts.listed_cohorts(session)
    )
    count = fleet.groups(session, looked_at, model=None, silent_since=now - SILENT_AFTER)
    examples = {name: frozenset(_listed(count.groups, place)) for place, name in enumerate(looked_at.lists)}
    matches = compile_rule(wanted, compile_readable(rows, examples)[0])
    inside = [
        group
        for group in count.groups
        if group.status != "decommissioned" and matches(group.example, looked_at.attributes(group.codes))
    ]
    return {
        "devices": sum(group.devices for group in inside),
        "silent": sum(group.silent for group in inside),
    }


def _listed(groups: Sequence[fleet.Group], place: int) -> list[str]:
    """The devices that stand for groups on a list: no others of the list are asked about."""
    return [group.example for group in groups if group.on_lists[place]]


def view(session: Session, row: store.cohorts.CohortRow) -> dict[str, Any]:
    """A cohort as people are shown it."""
    listed = store.cohorts.member_counts(session).get(row.name, 0)
    fields = ("name", "description", "rule", "updated_at")
    return {**{name: getattr(row, name) for name in fields}, "listed": listed}


def views(session: Session) -> list[dict[str, Any]]:
    """All cohorts, by name, as people are shown them."""
    return [view(session, row) for row in store.cohorts.cohorts(session)]
