"""Everything that polls are answered from, immutable, rebuilt when the serving epoch moves.

A version, cohort or rollout that cannot be read is left out and logged: one bad row never takes
the others, nor the snapshot before it, down.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service import store
from service.database import read_only
from service.domain.catalogue import Cohort, Component, Line, Patch, Rollout, Stage, Variant, Version
from service.domain.cohorts import Predicate, compile_rule
from service.domain.policy import parse_policy
from service.errors import InvalidPolicy, InvalidRule
from service.observability import log
from service.operations import cohorts, gate_figures
from service.serving.lists import Lists

_log = log("snapshot")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view.

    Attributes:
        lines: model name -> what there is of it.
        cohorts: name -> cohort, those that can be read.
        blocked: device id -> its status, where that is not `accepted`.
        overrides: device id -> attributes set by an operator.
        trust_version: of the newest trust bundle; 0 for none.
        trust_chain: (version, envelope), oldest first.
    """

    epoch: int = 0
    lines: Mapping[str, Line] = field(default_factory=dict)
    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    blocked: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    trust_version: int = 0
    trust_chain: tuple[tuple[int, bytes], ...] = ()


def build(session: Session, lists: Lists | None = None) -> Snapshot:
    """Read one consistent view; the session must be a `read_only` one.

    Args:
        session: where to read.
        lists: what has been read before, so that only what has changed is read again.
    """
    named = _cohorts(session, lists or Lists())
    predicates = {name: cohort.matches for name, cohort in named.items()}
    versions = _versions(session)
    rollouts = _rollouts(session, versions, predicates)
    patches, hopeless = _patches(session), store.patches.hopeless(session)
    metrics = store.gates.all_metric_names(session)
    chain = tuple((row.version, row.envelope) for row in store.trust.trust_chain(session))
    lines = {
        model.name: Line(
            name=model.name,
            killed=model.killed,
            versions={version.label: version for version in versions.get(model.name, {}).values()},
            rollouts=tuple(rollouts.get(model.name, ())),
            patches=patches,
            hopeless=hopeless,
            blobs=_blobs_of(versions.get(model.name, {}).values()),
            metrics=metrics.get(model.name, frozenset()),
        )
        for model in store.versions.models(session)
    }
    return Snapshot(
        epoch=store.trust.epoch(session),
        lines=lines,
        cohorts=named,
        blocked=dict(store.devices.not_accepted(session)),
        overrides=dict(store.devices.with_admin_attributes(session)),
        trust_version=chain[-1][0] if chain else 0,
        trust_chain=chain,
    )


class SnapshotKeeper:
    """The newest snapshot of this process, swapped in one assignment."""

    def __init__(self, engine: Engine, check_every_s: float) -> None:
        """Start empty; `refresh` or `run` fills it."""
        self._engine = engine
        self._check_every_s = check_every_s
        self.current = Snapshot()
        self._lists = Lists()
        self.fresh = False
        self._refreshing = threading.Lock()

    def refresh(self) -> None:
        """Rebuild if the epoch has moved. Blocking; the database's errors pass through."""
        # One at a time: an older view that took longer must not replace a newer one.
        with self._refreshing, read_only(self._engine) as session:
            if self.current.epoch != store.trust.epoch(session) or not self.fresh:
                self.current = build(session, self._lists)
        self.fresh = True

    async def run(self) -> None:
        """Keep refreshing; while the database is away, polls go on from what there is."""
        while True:
            await self.try_refresh()
            await asyncio.sleep(self._check_every_s)

    async def try_refresh(self) -> None:
        """Refresh once, off the event loop; what goes wrong is logged and leaves the old snapshot."""
        try:
            await _finished(asyncio.to_thread(self.refresh))
        except (SQLAlchemyError, OSError) as error:
            self.fresh = False
            _log.warning("snapshot.stale", epoch=self.current.epoch, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - an unreadable view must not end the loop
            _log.exception("snapshot.unreadable", epoch=self.current.epoch)


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work in a thread; when cancelled, still wait, since it holds a connection."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _cohorts(session: Session, lists: Lists) -> dict[str, Cohort]:
    rows, members = store.cohorts.cohorts(session), lists.read(session)
    readable, faults = cohorts.compile_readable(rows, members)
    for name, fault in faults.items():
        _log.error("cohort.unreadable", cohort=name, field=fault.field, detail=fault.detail)
    rules = {row.name: row.rule for row in rows}
    return {name: Cohort(name, rules[name], matches) for name, matches in readable.items()}


def _versions(session: Session) -> dict[str, dict[int, Version]]:
    found: dict[str, dict[int, Version]] = defaultdict(dict)
    for row in store.versions.served_versions(session):
        try:
            found[row.model][row.id] = _version(row)
        except InvalidRule:
            _log.exception("version.unreadable", model=row.model, version=row.label)
    return found


def _version(row: store.versions.VersionRow) -> Version:
    variants = [
        Variant(
            name=variant.name,
            priority=variant.priority,
            matches=compile_rule(variant.selector),
            components=tuple(
                Component(part.name, part.path, part.blob_sha256, part.blob.size)
                for part in variant.components
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
        watershed=row.watershed,
    )


def _rollouts(
    session: Session, versions: Mapping[str, Mapping[int, Version]], predicates: Mapping[str, Predicate]
) -> dict[str, list[Rollout]]:
    found: dict[str, list[Rollout]] = defaultdict(list)
    rows = store.rollouts.live(session)
    strata = store.gates.strata(session, [row.id for row in rows])
    for row in rows:
        version = versions.get(row.model, {}).get(row.version_id)
        if version is None or not all(stage.cohort in predicates for stage in row.stages):
            _log.error("rollout.unreadable", rollout=row.name)
            continue
        try:
            rollout = rollout_of(row, version, predicates)
        except InvalidPolicy as fault:
            # Time zones are other people's data: the next release of them may lack one.
            _log.error("rollout.unreadable", rollout=row.name, field=fault.field, detail=fault.detail)
            continue
        found[row.model].append(replace(rollout, strata=strata.get(row.id, frozenset())))
    return found


def rollout_of(
    row: store.rollouts.RolloutRow, version: Version, predicates: Mapping[str, Predicate]
) -> Rollout:
    """A rollout as polls see it."""
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
        held=gate_figures.held(row),
        activated=row.activated_at is not None,
    )


def _blobs_of(versions: Iterable[Version]) -> frozenset[str]:
    return frozenset(
        part.sha256 for version in versions for variant in version.variants for part in variant.components
    )


def _patches(session: Session) -> dict[tuple[str, str], tuple[Patch, ...]]:
    found: dict[tuple[str, str], tuple[Patch, ...]] = {}
    for row in store.patches.useful(session):
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
        found[key] = (*found.get(key, ()), patch)
    return found
