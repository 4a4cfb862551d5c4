"""Cohorts: named parts of the fleet, by rule or member list. Writes `cohorts` and `cohort_members`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Text, bindparam, func, literal, select
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from service import store
from service.domain.fleet.grouping import grouping_for
from service.domain.targeting.rules import Predicate, compile_rule
from service.errors import InvalidRule, NotFound, StillInUse
from service.operations.platform import audit
from service.store.fleet import groups

SILENT_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CohortDeclaration:
    """A cohort as an operator declares it: the devices that match the rule, and those on the member list.

    Attributes:
        rule: JSON rule; None for the member list alone; `{}` for all devices.
        devices: device ids of the member list; None to leave the list unchanged.
    """

    name: str
    rule: dict[str, Any] | None = None
    devices: Sequence[str] | None = None
    description: str = ""


def put(
    session: Session, declaration: CohortDeclaration, *, actor: str, now: datetime
) -> store.cohorts.CohortRow:
    """Create or change a cohort. Running rollouts use the change at once.

    Raises:
        InvalidRule: the rule is invalid, or cohorts refer to each other in a cycle.
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
    """The cohort with that name.

    Raises:
        NotFound: there is none.
    """
    row = store.cohorts.cohort(session, name)
    if row is None:
        raise NotFound(f"there is no cohort {name!r}; see `graylag cohort list`", field="cohort")
    return row


def delete(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Delete a cohort that is not in use.

    Raises:
        NotFound: there is none.
        StillInUse: a rollout, a template or the rule of another cohort uses it.
    """
    row = require(session, name)
    uses = store.rollouts.count_stages_using_cohort(session, name)
    if uses:
        raise StillInUse(
            f"{uses} stages of rollouts use {name!r}; a cohort that a rollout has used cannot be deleted"
        )
    templates = store.templates.names_using_cohort(session, name)
    if templates:
        raise StillInUse(f"{name!r} is used by the templates {', '.join(templates)}; change them first")
    others = [
        other.name for other in store.cohorts.cohorts(session) if name in referenced_cohorts(other.rule)
    ]
    if others:
        raise StillInUse(f"{name!r} is used by the rules of {', '.join(others)}; change them first")
    session.delete(row)
    audit.record(session, actor=actor, verb="cohort.delete", subject=f"cohort:{name}", now=now)


def compile_cohorts(
    rows: Sequence[store.cohorts.CohortRow], members: dict[str, frozenset[str]]
) -> dict[str, Predicate]:
    """Compile each cohort into a predicate, in any order of references.

    Raises:
        InvalidRule: a rule is invalid, refers to an unknown cohort, or is part of a cycle.
    """
    done, errors = compile_valid(rows, members)
    for error in errors.values():
        raise error
    return done


def compile_valid(
    rows: Sequence[store.cohorts.CohortRow], members: dict[str, frozenset[str]]
) -> tuple[dict[str, Predicate], dict[str, InvalidRule]]:
    """Compile the valid cohorts into predicates; return these, and the error of each invalid cohort."""
    waiting = {row.name: row for row in rows}
    done: dict[str, Predicate] = {}
    errors: dict[str, InvalidRule] = {}
    while ready := [name for name, row in waiting.items() if referenced_cohorts(row.rule) <= done.keys()]:
        for name in ready:
            try:
                done[name] = _predicate(waiting.pop(name).rule, members.get(name), done)
            except InvalidRule as error:
                errors[name] = error
    stuck = f"these cohorts form a cycle or refer to unknown cohorts: {', '.join(sorted(waiting))}"
    return done, errors | {name: InvalidRule(stuck, field="rule") for name in waiting}


def _predicate(rule: Any, listed: frozenset[str] | None, done: dict[str, Predicate]) -> Predicate:
    by_rule = compile_rule(rule, done) if rule is not None else None
    if by_rule is None:
        members = listed or frozenset()
        return lambda device_id, _attributes: device_id in members
    if not listed:
        return by_rule
    return lambda device_id, attributes: device_id in listed or by_rule(device_id, attributes)


def referenced_cohorts(rule: Any) -> set[str]:
    """The names of cohorts that a rule refers to, at any depth, existing or not."""
    if isinstance(rule, dict):
        own = {rule["cohort"]} if isinstance(rule.get("cohort"), str) else set()
        return own.union(*(referenced_cohorts(value) for value in rule.values()))
    if isinstance(rule, list):
        return set().union(*(referenced_cohorts(value) for value in rule))
    return set()


def _check(session: Session, declaration: CohortDeclaration) -> None:
    others = [row for row in store.cohorts.cohorts(session) if row.name != declaration.name]
    known: dict[str, Predicate] = {row.name: lambda _id, _attributes: False for row in others}
    if declaration.rule is not None:
        compile_rule(declaration.rule, known)
    changed = store.cohorts.CohortRow(name=declaration.name, rule=declaration.rule)
    compile_cohorts([*others, changed], {})


def _replace_members(session: Session, name: str, devices: Sequence[str]) -> None:
    """Write only the differences, because usually a few of 100,000 members have changed."""
    table = store.cohorts.CohortMemberRow
    desired, listed = set(devices), store.cohorts.members_of(session, name)
    removed, added = sorted(listed - desired), sorted(desired - listed)
    if removed:
        session.execute(
            delete_from(table).where(table.cohort == name, table.device_id == func.any(_as_array(removed)))
        )
    if added:
        rows = select(literal(name), func.unnest(_as_array(added)))
        session.execute(insert(table).from_select(["cohort", "device_id"], rows))


def _as_array(devices: Sequence[str]) -> BindParameter[Sequence[str]]:
    """One bind parameter for any number of ids."""
    return bindparam(None, devices, ARRAY(Text))


def count_devices(session: Session, row: store.cohorts.CohortRow, *, now: datetime) -> dict[str, int]:
    """Count the devices in service that belong to a cohort, in groups like a preview.

    Returns:
        `devices`, and `silent`: those of them not seen for a week.

    Raises:
        InvalidRule: the rule refers to an unknown cohort.
    """
    rows = store.cohorts.cohorts(session)
    rule: dict[str, Any] = {"cohort": row.name}
    grouping = grouping_for(
        [rule], {item.name: item.rule for item in rows}, listed=store.cohorts.listed_cohorts(session)
    )
    count = groups.count_groups(session, grouping, model=None, silent_since=now - SILENT_AFTER)
    examples = {name: frozenset(_listed(count.groups, place)) for place, name in enumerate(grouping.lists)}
    matches = compile_rule(rule, compile_valid(rows, examples)[0])
    inside = [
        group
        for group in count.groups
        if group.status != "decommissioned" and matches(group.example, grouping.attributes(group.codes))
    ]
    return {
        "devices": sum(group.devices for group in inside),
        "silent": sum(group.silent for group in inside),
    }


def _listed(groups: Sequence[groups.DeviceGroup], place: int) -> list[str]:
    """The example devices of groups on a member list; the rule is evaluated for no other members."""
    return [group.example for group in groups if group.on_lists[place]]


def view(session: Session, row: store.cohorts.CohortRow) -> dict[str, Any]:
    """A cohort as the API returns it."""
    listed = store.cohorts.member_counts(session).get(row.name, 0)
    fields = ("name", "description", "rule", "updated_at")
    return {**{name: getattr(row, name) for name in fields}, "listed_devices": listed}


def views(session: Session) -> list[dict[str, Any]]:
    """All cohorts, by name, as the API returns them."""
    return [view(session, row) for row in store.cohorts.cohorts(session)]
