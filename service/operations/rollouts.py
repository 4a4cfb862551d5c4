"""Rollouts: declared, found, listed. Writes `rollouts`, `stages`, `rollout_events`, with `rollout_verbs`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from service import store
from service.domain import rollouts as life
from service.domain.cohorts import salt_of
from service.domain.pacing import require_possible
from service.domain.policy import parse_policy, require_future
from service.errors import NameTaken, NotFound, VersionNotReady, WrongState
from service.operations import audit, cohorts, versions, way_back, webhooks

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
    policy: dict[str, Any] = field(default_factory=dict)


def create(
    session: Session, declaration: RolloutDeclaration, *, actor: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Write a rollout down; nothing reaches a device before `start`.

    Raises:
        UnknownModel, NotFound: no such model, version or cohort; `field` says which.
        VersionNotReady: the version is not ready.
        InvalidStages, InvalidGate, InvalidPolicy: values that make no sense.
        NameTaken: there is a rollout of that name.
    """
    row = drafted(session, declaration, actor=actor, now=now)
    if store.rollouts.rollout_by_name(session, declaration.name) is not None:
        raise NameTaken(f"there is a rollout {declaration.name!r}", field="name")
    session.add(row)
    session.flush()
    note(session, row, "created", actor, now)
    return row


def drafted(
    session: Session, declaration: RolloutDeclaration, *, actor: str, now: datetime
) -> store.rollouts.RolloutRow:
    """The row of a rollout, checked as `create` does and not written down."""
    return _row(declaration, _check(session, declaration, now), actor)


def change_draft(
    session: Session,
    row: store.rollouts.RolloutRow,
    declaration: RolloutDeclaration,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Write a draft anew; its salt stays, and with it the devices that its first stage takes.

    Raises:
        WrongState: it is no draft any more.
        ServiceError: as `create`.
    """
    found = store.rollouts.rollout(session, row.id, lock=True)
    if found is None or found.state != "draft":
        raise WrongState("only a draft is changed", state=found.state if found else "gone")
    fresh = drafted(session, declaration, actor=actor, now=now)
    for name in ("model", "version_id", "on_breach", "priority", "policy"):
        setattr(found, name, getattr(fresh, name))
    stages, fresh.stages = list(fresh.stages), []
    found.stages = stages
    session.flush()
    note(session, found, "changed", actor, now)


def _check(session: Session, declaration: RolloutDeclaration, now: datetime) -> store.versions.VersionRow:
    version = versions.require(session, declaration.model, declaration.version)
    require_ready(version)
    metrics = store.gates.metric_names(session, declaration.model)
    check_shape(session, declaration.stages, declaration.policy, metrics)
    policy = parse_policy(declaration.policy)
    require_future(policy, now)
    require_possible(policy.pacing, versions.largest_download(version))
    way_back.require(session, version, policy, on_breach=declaration.on_breach)
    return version


def check_shape(
    session: Session,
    stages: Sequence[StageDeclaration],
    policy: dict[str, Any],
    metrics: Collection[str] | None = None,
) -> None:
    """Refuse stages and a policy that make no sense; gates on measurements only where the model's are given.

    Raises:
        NotFound: a stage names an absent cohort.
        InvalidStages, InvalidGate, InvalidPolicy: values that make no sense.
    """
    parse_policy(policy)
    life.check_stages(
        [{"cohort": s.cohort, "percent": s.percent, "gates": s.gates} for s in stages],
        metrics=metrics,
        holdback=policy.get("holdback_percent", 0),
    )
    _require_cohorts(session, stages)


def _row(
    declaration: RolloutDeclaration, version: store.versions.VersionRow, actor: str
) -> store.rollouts.RolloutRow:
    return store.rollouts.RolloutRow(
        id=uuid4(),
        model=declaration.model,
        version_id=version.id,
        name=declaration.name,
        state="draft",
        salt=salt_of(declaration.name),
        stage=0,
        held=[],
        on_breach=declaration.on_breach,
        priority=declaration.priority,
        policy=declaration.policy,
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


def list_scheduled(session: Session) -> Sequence[UUID]:
    """The rollouts that wait for their time, or for their way back."""
    return store.rollouts.scheduled(session)


def note(
    session: Session,
    row: store.rollouts.RolloutRow,
    kind: str,
    actor: str,
    now: datetime,
    *,
    reason: str = "",
) -> None:
    """Into the rollout's history and the audit log, and out to the webhooks."""
    detail = {"stage": row.stage, "state": row.state}
    event = store.rollouts.RolloutEventRow(
        rollout_id=row.id, at=now, kind=kind, actor=actor, reason=reason, detail=detail
    )
    session.add(event)
    session.flush()
    _announce(session, row, event, now)
    audit.record(
        session,
        actor=actor,
        verb=f"rollout.{kind}",
        subject=f"rollout:{row.name}",
        now=now,
        detail={**detail, "reason": reason},
    )


def _announce(
    session: Session, row: store.rollouts.RolloutRow, event: store.rollouts.RolloutEventRow, now: datetime
) -> None:
    version = store.versions.version_by_id(session, row.version_id)
    data = {
        "rollout": row.name,
        "rollout_id": str(row.id),
        "model": row.model,
        "version": version.label if version else "",
        "state": row.state,
        "stage": row.stage,
        "stages": len(row.stages),
        "actor": event.actor,
        "reason": event.reason,
        "sequence": event.id,
    }
    why = f": {event.reason}" if event.reason else ""
    text = f"{row.name} ({row.model} {data['version']}): {event.kind} by {event.actor}, now {row.state}{why}"
    webhooks.announce(session, f"rollout.{event.kind}", data, text, now=now)


def require_ready(version: store.versions.VersionRow | None) -> None:
    """Refuse a version that cannot be rolled out.

    Raises:
        VersionNotReady: in its present state, or because it is gone.
    """
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


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
