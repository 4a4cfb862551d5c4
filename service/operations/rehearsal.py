"""The ways back, made before anybody needs them.

A rollout that may have to be rolled back does not start before there is a proved patch from its version to each
version that devices would go back to, or a worker has found that the patch is not worth it: then the full file is
the way back.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from service import store
from service.domain.patch_plan import Base, Pair, plan
from service.domain.policy import parse_policy
from service.domain.rollbacks import FACTORY, reachable
from service.jobs import Bell
from service.operations import patches

MAX_BASES = 8
"""Versions to go back to, those that most devices run first; devices of rarer ones get the full file."""
FOUND = 100


def wanted(row: store.rollouts.RolloutRow) -> bool:
    """Whether a rollout has to be rehearsed before it starts."""
    return row.on_breach == "rollback" or parse_policy(row.policy).back_to is not None


def ask(session: Session, bell: Bell, row: store.rollouts.RolloutRow) -> list[str]:
    """Ask for the patches that lead back; returns those that are still being made, in words."""
    missing = []
    for words, pair in _ways(session, row):
        found = store.patches.between(session, pair.source, pair.target, patches.FORMAT)
        if found is None or found.state == "retired":
            patches.request(session, bell, pair.source, pair.target)
        if found is None or found.state in ("queued", "retired"):
            missing.append(words)
    return missing


def delays(session: Session, row: store.rollouts.RolloutRow) -> list[str]:
    """Of each patch back that is still missing: who is at it, or why nobody is; for people who wait."""
    said = []
    for words, pair in _ways(session, row):
        found = store.patches.between(session, pair.source, pair.target, patches.FORMAT)
        job = patches.job_of(session, found) if found is not None and found.state == "queued" else None
        if job is not None:
            said.append(f"{words}: {_standing(session, job)}")
    return said


def _standing(session: Session, job: store.jobs.JobRow) -> str:
    if job.state == "running":
        return f"in the making, try {job.attempts}"
    if job.state == "dead":
        return f"given up after {job.attempts} tries; POST /v1/admin/jobs/{job.id}/requeue tries again"
    heard = store.jobs.last_heard(session, job.queue)
    since = f"the last one ended a job at {heard:%Y-%m-%d %H:%M} UTC" if heard else "there has never been one"
    return f"waits since {job.created_at:%Y-%m-%d %H:%M} UTC for a worker of the queue {job.queue}; {since}"


def _ways(session: Session, row: store.rollouts.RolloutRow) -> Iterator[tuple[str, Pair]]:
    """The patches that lead back, each in words."""
    version = store.versions.version_by_id(session, row.version_id)
    if version is None:
        return
    for target in _destinations(session, row, version):
        files = patches.files_of(target)
        for pair in plan(files, [Base(version.label, patches.files_of(version), 1)], limit=1):
            name = next(file.name for file in files if file.sha256 == pair.target)
            yield f"{version.label} to {target.label} ({name})", pair


def _destinations(
    session: Session, row: store.rollouts.RolloutRow, version: store.versions.VersionRow
) -> Sequence[store.versions.VersionRow]:
    """The versions that devices would be brought back to, those that most devices run first."""
    back_to = parse_policy(row.policy).back_to
    if back_to not in (None, FACTORY):
        chosen = store.versions.version(session, row.model, back_to or "")
        return [chosen] if chosen is not None else []
    census = store.devices.census(session, row.model)
    earlier = [
        base
        for base in store.versions.earlier_served(session, version, limit=FOUND)
        if base.state == "ready" and reachable(base.counter, version)
    ]
    # The newest one counts even before any device is known to run it.
    run = [base for base in earlier if census.get(base.label) or base is earlier[0]]
    return sorted(run, key=lambda base: -census.get(base.label, 0))[:MAX_BASES]
