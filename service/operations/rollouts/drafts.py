"""Creating and changing drafts of rollouts. Writes `rollouts` and `stages`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts.pacing import require_feasible
from service.domain.rollouts.policy import parse_policy, require_future_start
from service.domain.rollouts.stages import check_stages
from service.domain.targeting.buckets import rollout_salt
from service.errors import NameTaken, NotFound, WrongState
from service.operations.fleet import cohorts
from service.operations.releases import versions
from service.operations.rollouts import rollback_targets
from service.operations.rollouts.records import record_event, require_ready_version


@dataclass(frozen=True, slots=True)
class StageDeclaration:
    """A stage as a release manager declares it.

    Attributes:
        percent: percentage of the cohort that may have the version, above 0, at most 100.
        advance_when: requirements for advancing, see `domain.rollouts.lifecycle`.
        gates: bounds on failures and metrics, see `domain.gates`.
    """

    cohort: str
    percent: float
    advance_when: dict[str, Any] = field(default_factory=dict)
    gates: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class RolloutDeclaration:
    """A rollout as a release manager declares it."""

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
    """Create a draft. Devices are offered nothing before `start`.

    Raises:
        UnknownModel, NotFound: there is no such model, version or cohort; `field` says which.
        VersionNotReady: the version is not ready.
        InvalidStages, InvalidGate, InvalidPolicy: the declaration is invalid.
        NameTaken: there is a rollout with that name.
    """
    row = build_row(session, declaration, actor=actor, now=now)
    if store.rollouts.rollout_by_name(session, declaration.name) is not None:
        raise NameTaken(f"there is a rollout {declaration.name!r} already; choose another name", field="name")
    session.add(row)
    session.flush()
    record_event(session, row, "create", actor, now)
    return row


def build_row(
    session: Session, declaration: RolloutDeclaration, *, actor: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Validate a declaration like `create`, and return the row without inserting it."""
    return _row(declaration, _validate(session, declaration, now), actor)


def update(
    session: Session,
    row: store.rollouts.RolloutRow,
    declaration: RolloutDeclaration,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Replace the content of a draft. Its salt is kept, so that its first stage selects the same devices.

    Raises:
        WrongState: the rollout is no longer a draft.
        ServiceError: as `create`.
    """
    found = store.rollouts.rollout(session, row.id, lock=True)
    if found is None or found.state != "draft":
        raise WrongState(
            "only drafts can be changed; create another rollout", state=found.state if found else "deleted"
        )
    fresh = build_row(session, declaration, actor=actor, now=now)
    for name in ("model", "version_id", "on_breach", "priority", "policy"):
        setattr(found, name, getattr(fresh, name))
    stages, fresh.stages = list(fresh.stages), []
    found.stages = stages
    session.flush()
    record_event(session, found, "update", actor, now)


def validate_shape(
    session: Session,
    stages: Sequence[StageDeclaration],
    policy: dict[str, Any],
    metrics: Collection[str] | None = None,
) -> None:
    """Validate stages and policy as far as that is possible without a version.

    Args:
        session: the transaction.
        stages: the stages.
        policy: the policy.
        metrics: the custom metric names that gates may use; None to accept any name.

    Raises:
        NotFound: a stage uses an unknown cohort.
        InvalidStages, InvalidGate, InvalidPolicy: they are invalid.
    """
    parse_policy(policy)
    check_stages(
        [{"cohort": s.cohort, "percent": s.percent, "gates": s.gates} for s in stages],
        metrics=metrics,
        holdout=policy.get("holdout_percent", 0),
    )
    _require_cohorts(session, stages)


def _validate(session: Session, declaration: RolloutDeclaration, now: datetime) -> store.versions.VersionRow:
    version = versions.require(session, declaration.model, declaration.version)
    require_ready_version(version)
    metrics = store.metrics.metric_names(session, declaration.model)
    validate_shape(session, declaration.stages, declaration.policy, metrics)
    policy = parse_policy(declaration.policy)
    require_future_start(policy, now)
    require_feasible(policy.pacing, versions.max_download_bytes(version))
    rollback_targets.require(session, version, policy, on_breach=declaration.on_breach)
    return version


def _require_cohorts(session: Session, stages: Sequence[StageDeclaration]) -> None:
    for index, stage in enumerate(stages):
        try:
            cohorts.require(session, stage.cohort)
        except NotFound as error:
            raise NotFound(error.detail, field=f"stages.{index}.cohort") from error


def _row(
    declaration: RolloutDeclaration, version: store.versions.VersionRow, actor: str
) -> store.rollouts.RolloutRow:
    return store.rollouts.RolloutRow(
        id=uuid4(),
        model=declaration.model,
        version_id=version.id,
        name=declaration.name,
        state="draft",
        salt=rollout_salt(declaration.name),
        stage=0,
        paused_classes=[],
        on_breach=declaration.on_breach,
        priority=declaration.priority,
        policy=declaration.policy,
        created_by=actor,
        stages=[_stage_row(index, stage) for index, stage in enumerate(declaration.stages)],
    )


def _stage_row(index: int, stage: StageDeclaration) -> store.rollouts.StageRow:
    return store.rollouts.StageRow(
        ordinal=index,
        cohort=stage.cohort,
        percent=stage.percent,
        advance_when=stage.advance_when,
        gates=list(stage.gates),
    )
