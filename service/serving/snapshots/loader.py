"""Loads a snapshot from the database.

A version, cohort or rollout that cannot be read is logged and left out, so that one bad row does not stop the others.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from service import store
from service.domain.catalog import Component, ModelView, Patch, Rollout, Stage, Variant, Version
from service.domain.rollouts.policy import parse_policy
from service.domain.targeting.cohorts import Cohort
from service.domain.targeting.rules import Predicate, compile_rule
from service.errors import InvalidPolicy, InvalidRule
from service.infrastructure.observability import log
from service.operations.fleet import cohorts
from service.operations.rollouts import gate_inputs
from service.serving.snapshots.membership_cache import MembershipCache
from service.serving.snapshots.rollout_indexes import RememberedIndexes
from service.serving.snapshots.snapshot import Snapshot

_log = log("snapshot")


def load_snapshot(session: Session, memberships: MembershipCache | None = None) -> Snapshot:
    """Load one consistent view.

    Args:
        session: a `read_only` session.
        memberships: explicit cohort lists of the last load, so that only changed lists are read again.
    """
    loaded_cohorts = _cohorts(session, memberships or MembershipCache())
    predicates = {name: cohort.matches for name, cohort in loaded_cohorts.items()}
    versions = _versions(session)
    rollouts = _rollouts(session, versions, predicates)
    patches, not_worth_building = _patches(session), store.patches.unavailable_pairs(session)
    metrics = store.metrics.all_metric_names(session)
    chain = tuple((row.version, row.envelope) for row in store.trust.trust_chain(session))
    models = {
        model.name: ModelView(
            name=model.name,
            disabled=model.disabled,
            versions={version.label: version for version in versions.get(model.name, {}).values()},
            rollouts=tuple(rollouts.get(model.name, ())),
            patches=patches,
            not_worth_building=not_worth_building,
            blobs=_blobs_of(versions.get(model.name, {}).values()),
            metrics=metrics.get(model.name, frozenset()),
        )
        for model in store.versions.models(session)
    }
    return Snapshot(
        epoch=store.serving_epoch.epoch(session),
        models=models,
        rollout_indexes={name: RememberedIndexes(model.rollouts) for name, model in models.items()},
        cohorts=loaded_cohorts,
        blocked=dict(store.devices.not_accepted(session)),
        overrides=dict(store.devices.with_admin_attributes(session)),
        trust_version=chain[-1][0] if chain else 0,
        trust_chain=chain,
    )


def _cohorts(session: Session, memberships: MembershipCache) -> dict[str, Cohort]:
    rows, members = store.cohorts.cohorts(session), memberships.read(session)
    readable, errors = cohorts.compile_valid(rows, members)
    for name, error in errors.items():
        _log.error("cohort.unreadable", cohort=name, field=error.field, detail=error.detail)
    rules = {row.name: row.rule for row in rows}
    return {name: Cohort(name, rules[name], matches) for name, matches in readable.items()}


def _versions(session: Session) -> dict[str, dict[int, Version]]:
    loaded: dict[str, dict[int, Version]] = defaultdict(dict)
    for row in store.versions.served_versions(session):
        try:
            loaded[row.model][row.id] = _version(row)
        except InvalidRule:
            _log.exception("version.unreadable", model=row.model, version=row.label)
    return loaded


def _version(row: store.versions.VersionRow) -> Version:
    variants = [
        Variant(
            name=variant.name,
            priority=variant.priority,
            matches=compile_rule(variant.selector),
            components=tuple(
                Component(component.name, component.path, component.blob_sha256, component.blob.size)
                for component in variant.components
            ),
            selector=variant.selector,
        )
        for variant in row.variants
    ]
    return Version(
        id=row.id,
        label=row.label,
        counter=row.counter,
        floor=row.floor,
        revoked=row.state == "revoked",
        variants=tuple(sorted(variants, key=lambda variant: -variant.priority)),
        manifest=row.manifest or b"",
        manifest_sha256=row.manifest_sha256 or "",
        ready_at=row.ready_at,
        barrier=row.barrier,
    )


def _rollouts(
    session: Session, versions: Mapping[str, Mapping[int, Version]], predicates: Mapping[str, Predicate]
) -> dict[str, list[Rollout]]:
    loaded: dict[str, list[Rollout]] = defaultdict(list)
    rows = store.rollouts.live(session)
    device_classes = store.gates.device_classes(session, [row.id for row in rows])
    for row in rows:
        version = versions.get(row.model, {}).get(row.version_id)
        if version is None or not all(stage.cohort in predicates for stage in row.stages):
            _log.error("rollout.unreadable", rollout=row.name)
            continue
        try:
            rollout = rollout_view(row, version, predicates)
        except InvalidPolicy as error:
            # A policy may become invalid: a new release of the time zone database may lack a zone.
            _log.error("rollout.unreadable", rollout=row.name, field=error.field, detail=error.detail)
            continue
        loaded[row.model].append(replace(rollout, device_classes=device_classes.get(row.id, frozenset())))
    return loaded


def rollout_view(
    row: store.rollouts.RolloutRow, version: Version, predicates: Mapping[str, Predicate]
) -> Rollout:
    """The view of a rollout that polls are decided from."""
    stages = tuple(Stage(stage.cohort, predicates[stage.cohort], stage.percent) for stage in row.stages)
    return Rollout(
        id=row.id,
        name=row.name,
        state=row.state,
        version=version,
        salt=row.salt,
        stage=row.stage,
        stages=stages,
        policy=parse_policy(row.policy),
        on_breach=row.on_breach,
        paused_classes=gate_inputs.paused_classes(row),
        activated=row.activated_at is not None,
    )


def _blobs_of(versions: Iterable[Version]) -> frozenset[str]:
    return frozenset(
        component.sha256
        for version in versions
        for variant in version.variants
        for component in variant.components
    )


def _patches(session: Session) -> dict[tuple[str, str], tuple[Patch, ...]]:
    loaded: dict[tuple[str, str], tuple[Patch, ...]] = {}
    for row in store.patches.queued_or_ready(session):
        key = row.source_sha256, row.target_sha256
        patch = Patch(
            format=row.format,
            source_sha256=row.source_sha256,
            target_sha256=row.target_sha256,
            created_at=row.created_at,
            sha256=row.sha256,
            size=row.size or 0,
            working_set=row.working_set or 0,
            descriptor=row.descriptor or b"",
        )
        loaded[key] = (*loaded.get(key, ()), patch)
    return loaded
