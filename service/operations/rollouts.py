"""Rollouts: made, started, widened, stopped. Writes `rollouts`, `stages`, `rollout_events`."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from service import store
from service.domain import gates
from service.domain import rollouts as life
from service.errors import NameTaken, NotFound, VersionNotReady
from service.operations import attempts, audit, cohorts, versions

WATCH_AFTER_LAST_REPORT = timedelta(days=7)
"""A completed rollout on which nobody has reported for so long has nothing new to say."""


@dataclass(frozen=True, slots=True)
class StageDeclaration:
    """A step: `percent` of `cohort`; what must hold before the next; which bounds stop it."""

    cohort: str
    percent: float
    hold: dict[str, Any] = field(default_factory=dict)
    gates: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class RolloutDeclaration:
    """A rollout as a release manager writes it."""

    name: str
    model: str
    version: str
    stages: Sequence[StageDeclaration]
    on_breach: str = "halt"
    priority: int = 0


def create(
    session: Session, declaration: RolloutDeclaration, *, actor: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Write a rollout down; nothing reaches a device before `start`.

    Raises:
        UnknownModel, NotFound: no such model, version or cohort; `field` says which.
        VersionNotReady: the version is not ready.
        InvalidStages, InvalidGate: stages that make no sense.
        NameTaken: there is a rollout of that name.
    """
    version = versions.require(session, declaration.model, declaration.version)
    _require_ready(version)
    life.check_stages(
        [{"cohort": s.cohort, "percent": s.percent, "gates": s.gates} for s in declaration.stages]
    )
    _require_cohorts(session, declaration.stages)
    if store.rollouts.rollout_by_name(session, declaration.name) is not None:
        raise NameTaken(f"there is a rollout {declaration.name!r}", field="name")
    row = _row(declaration, version, actor)
    session.add(row)
    session.flush()
    _note(session, row, "created", actor, now)
    return row


def _row(
    declaration: RolloutDeclaration, version: store.versions.VersionRow, actor: str
) -> store.rollouts.RolloutRow:
    return store.rollouts.RolloutRow(
        id=uuid4(),
        model=declaration.model,
        version_id=version.id,
        name=declaration.name,
        state="draft",
        salt=secrets.token_hex(16),
        on_breach=declaration.on_breach,
        priority=declaration.priority,
        created_by=actor,
        stages=[
            store.rollouts.StageRow(
                ordinal=index,
                cohort=stage.cohort,
                percent=stage.percent,
                hold=stage.hold,
                gates=list(stage.gates),
            )
            for index, stage in enumerate(declaration.stages)
        ],
    )


def require(session: Session, key: str, *, lock: bool = False) -> store.rollouts.RolloutRow:
    """A rollout by its id or its name.

    Raises:
        NotFound: there is none.
    """
    row = store.rollouts.rollout_by_name(session, key)
    if row is None and _is_uuid(key):
        row = store.rollouts.rollout(session, UUID(key))
    if row is not None and lock:
        row = store.rollouts.rollout(session, row.id, lock=True)
    if row is None:
        raise NotFound(f"there is no rollout {key!r}", field="rollout")
    return row


def list_all(session: Session, *, model: str | None) -> Sequence[store.rollouts.RolloutRow]:
    """Rollouts, of one model on demand, newest first."""
    return store.rollouts.rollouts(session, model=model)


def list_watched(session: Session, *, now: datetime) -> Sequence[UUID]:
    """The rollouts whose gates are to be looked at: those that run, and those that devices still report on."""
    return store.rollouts.watched(session, reported_since=now - WATCH_AFTER_LAST_REPORT)


def act(
    session: Session, key: str, verb: str, *, actor: str, reason: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Start, pause, resume, halt, cancel or promote a rollout.

    Raises:
        NotFound: no such rollout.
        WrongState: the verb does not apply now.
        VersionNotReady: the version is no longer ready.
    """
    row = require(session, key, lock=True)
    state = life.after(row.state, verb)
    if verb == "promote" and row.stage == len(row.stages) - 1:
        # Behind the last stage there is the end; else its approval would be waited for without end.
        verb, state = "complete", life.after(row.state, "complete")
    if verb in ("start", "resume"):
        version = store.versions.version_by_id(session, row.version_id)
        _require_ready(version)
    row.state, row.reason = state, reason
    _EFFECTS.get(verb, _nothing)(session, row, now)
    _note(session, row, verb, actor, now, reason=reason)
    return row


def revoke(
    session: Session, model: str, label: str, *, actor: str, reason: str, now: datetime
) -> store.versions.VersionRow:
    """Revoke a version, end its rollouts, and take back what has been offered of it; again changes nothing.

    Raises:
        UnknownModel, NotFound, WrongState: as `versions.revoke`.
    """
    version = versions.revoke(session, model, label, actor=actor, reason=reason, now=now)
    for row in store.rollouts.of_version(session, version.id):
        verb = next((verb for verb in ("halt", "cancel") if row.state in life.VERBS[verb][0]), None)
        if verb is not None:
            act(session, row.name, verb, actor=actor, reason=f"version revoked: {reason}", now=now)
    return version


def evaluate(session: Session, rollout_id: UUID, *, now: datetime) -> gates.Verdict | None:
    """Look at a rollout's gates and do what they say; None when nobody is to look.

    A completed rollout is still looked at: late devices get the same brakes, and a breach halts it.
    """
    row = store.rollouts.rollout(session, rollout_id, lock=True)
    if row is None or row.state not in {"running", "completed"} or row.stage_since is None:
        return None
    tallies = {stage: _tally(counts) for stage, counts in store.rollouts.tallies(session, rollout_id).items()}
    stage = row.stages[row.stage]
    verdict = gates.judge(
        [gates.parse_gate(gate, "gate") for gate in stage.gates],
        life.hold_of(stage.hold),
        own=tallies.get(row.stage, gates.Tally()),
        all_stages=_sum(list(tallies.values())),
        age=now - row.stage_since,
    )
    _carry_out(session, row, verdict, now)
    return verdict


def _carry_out(
    session: Session, row: store.rollouts.RolloutRow, verdict: gates.Verdict, now: datetime
) -> None:
    if verdict.outcome == "hold" or (verdict.outcome == "advance" and row.state == "completed"):
        return
    verb = "halt" if verdict.outcome == "breach" else "advance"
    if verb == "advance" and row.stage == len(row.stages) - 1:
        verb = "complete"
    row.state, row.reason = life.after(row.state, verb), verdict.reason
    _EFFECTS.get(verb, _nothing)(session, row, now)
    _note(session, row, verb, "gates", now, reason=verdict.reason)


def _start(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.started_at, row.stage, row.stage_since = now, 0, now


def _widen(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.stage, row.stage_since = min(row.stage + 1, len(row.stages) - 1), now


def _end(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.ended_at = now


def _withdraw(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.ended_at = now
    attempts.withdraw(session, row.id, now=now)


def _nothing(_session: Session, _row: store.rollouts.RolloutRow, _now: datetime) -> None:
    """Pause and resume change the state alone; open attempts go on."""


_EFFECTS = {
    "start": _start,
    "promote": _widen,
    "advance": _widen,
    "complete": _end,
    "cancel": _end,
    "halt": _withdraw,
}


def _note(
    session: Session,
    row: store.rollouts.RolloutRow,
    kind: str,
    actor: str,
    now: datetime,
    *,
    reason: str = "",
) -> None:
    """Into the rollout's history and the audit log alike."""
    detail = {"stage": row.stage, "state": row.state}
    session.add(
        store.rollouts.RolloutEventRow(
            rollout_id=row.id, at=now, kind=kind, actor=actor, reason=reason, detail=detail
        )
    )
    audit.record(
        session,
        actor=actor,
        verb=f"rollout.{kind}",
        subject=f"rollout:{row.name}",
        now=now,
        detail={**detail, "reason": reason},
    )


def _require_ready(version: store.versions.VersionRow | None) -> None:
    if version is None or version.state != "ready":
        state = version.state if version else "gone"
        raise VersionNotReady(
            f"the version is {state}; only a ready version is rolled out", field="version", state=state
        )


def _require_cohorts(session: Session, stages: Sequence[StageDeclaration]) -> None:
    for index, stage in enumerate(stages):
        try:
            cohorts.require(session, stage.cohort)
        except NotFound as error:
            raise NotFound(error.detail, field=f"stages.{index}.cohort") from error


def _tally(counts: dict[str, int]) -> gates.Tally:
    names = ("offered", "committed", "failed", "rolled_back", "timed_out")
    return gates.Tally(**{name: counts[name] for name in names})


def _sum(tallies: Sequence[gates.Tally]) -> gates.Tally:
    total = gates.Tally()
    for tally in tallies:
        total = total.plus(tally)
    return total


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
