"""Patches for rollbacks, built before a rollout starts.

A rollout that may be rolled back does not start before its rollback patches are decided: for each version that devices
would return to, there is a verified patch, or a worker has found that a patch is not worth it and devices will download
the full file.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from sdk_contract.formats import GLP1
from service import store
from service.domain.patching.candidates import PatchPair, SourceVersion
from service.domain.patching.planner import initial_pairs
from service.domain.polling.rollback_targets import FACTORY, can_roll_back_to
from service.domain.rollouts.policy import parse_policy
from service.infrastructure.jobs import JobNotifier
from service.operations.patching import patches

MAX_TARGETS = 8
"""Patches lead to the versions that most devices run; devices of other versions download the full file."""
MAX_CANDIDATES = 100


def is_required(row: store.rollouts.RolloutRow) -> bool:
    """Whether a rollout needs rollback patches before it starts."""
    return row.on_breach == "rollback" or parse_policy(row.policy).rollback_to is not None


def request(session: Session, notifier: JobNotifier, row: store.rollouts.RolloutRow) -> list[str]:
    """Request the missing rollback patches; return descriptions of those that are not decided yet."""
    pending = []
    for description, pair in _required_pairs(session, row):
        found = store.patches.between(session, pair.source, pair.target, GLP1)
        if found is None or found.state == "retired":
            patches.request(session, notifier, pair.source, pair.target)
        if found is None or found.state in ("queued", "retired"):
            pending.append(description)
    return pending


def describe_pending(session: Session, row: store.rollouts.RolloutRow) -> list[str]:
    """Describe each rollback patch that is queued, and the state of its job."""
    lines = []
    for description, pair in _required_pairs(session, row):
        found = store.patches.between(session, pair.source, pair.target, GLP1)
        job = patches.job_of(session, found) if found is not None and found.state == "queued" else None
        if job is not None:
            lines.append(f"{description}: {_describe_job(session, job)}")
    return lines


def _describe_job(session: Session, job: store.jobs.JobRow) -> str:
    if job.state == "running":
        return f"running, attempt {job.attempts}"
    if job.state == "dead":
        return f"failed after {job.attempts} attempts; POST /v1/admin/jobs/{job.id}/requeue to try again"
    finished = store.jobs.last_finished(session, job.queue)
    last = (
        f"the last job finished at {finished:%Y-%m-%d %H:%M} UTC" if finished else "no job has ever finished"
    )
    return f"queued since {job.created_at:%Y-%m-%d %H:%M} UTC for a worker of {job.queue}; {last}"


def _required_pairs(session: Session, row: store.rollouts.RolloutRow) -> Iterator[tuple[str, PatchPair]]:
    """Yield the required patches with a description of each."""
    version = store.versions.version_by_id(session, row.version_id)
    if version is None:
        return
    for target in _targets(session, row, version):
        files = patches.files_of(target)
        source = SourceVersion(version.label, patches.files_of(version), 1)
        for pair in initial_pairs(files, [source], limit=1):
            component = next(file.name for file in files if file.sha256 == pair.target)
            yield f"{version.label} to {target.label} ({component})", pair


def _targets(
    session: Session, row: store.rollouts.RolloutRow, version: store.versions.VersionRow
) -> Sequence[store.versions.VersionRow]:
    """The versions that devices would return to, those that most devices run first."""
    rollback_to = parse_policy(row.policy).rollback_to
    if rollback_to not in (None, FACTORY):
        chosen = store.versions.version(session, row.model, rollback_to or "")
        return [chosen] if chosen is not None else []
    devices = store.devices.devices_per_version(session, row.model)
    earlier = [
        target
        for target in store.versions.earlier_served(session, version, limit=MAX_CANDIDATES)
        if target.state == "ready" and can_roll_back_to(target.counter, version)
    ]
    # The newest one is included even if no device is known to run it yet.
    targets = [target for target in earlier if devices.get(target.label) or target is earlier[0]]
    return sorted(targets, key=lambda target: -devices.get(target.label, 0))[:MAX_TARGETS]
