"""Finding rollouts, and recording what happens to them. Writes `rollout_events`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from service import store
from service.errors import NotFound, VersionNotReady
from service.operations.platform import audit, webhooks

MONITOR_AFTER_LAST_REPORT = timedelta(days=7)
"""A completed rollout without a report for this long is no longer monitored."""


def require(session: Session, key: str, *, lock: bool = False) -> store.rollouts.RolloutRow:
    """The rollout with that name or id.

    Raises:
        NotFound: there is none.
    """
    row = store.rollouts.rollout_by_name(session, key)
    if row is None and _is_uuid(key):
        row = store.rollouts.rollout(session, UUID(key))
    if row is not None and lock:
        row = store.rollouts.rollout(session, row.id, lock=True)
    if row is None:
        raise NotFound(f"there is no rollout {key!r}; see `graylag rollout list`", field="rollout")
    return row


def list_all(session: Session, *, model: str | None) -> Sequence[store.rollouts.RolloutRow]:
    """Rollouts, newest first, of one model if given."""
    return store.rollouts.rollouts(session, model=model)


def list_monitored(session: Session, *, now: datetime) -> Sequence[UUID]:
    """The ids of rollouts whose gates are evaluated: running ones, and completed ones with recent reports."""
    return store.rollouts.monitored(session, reported_since=now - MONITOR_AFTER_LAST_REPORT)


def list_scheduled(session: Session) -> Sequence[UUID]:
    """The ids of rollouts that wait for their start time or their rollback patches."""
    return store.rollouts.scheduled(session)


def record_event(
    session: Session,
    row: store.rollouts.RolloutRow,
    kind: str,
    actor: str,
    now: datetime,
    *,
    reason: str = "",
) -> None:
    """Add an event to the history of a rollout and to the audit log, and send it to webhooks."""
    detail = {"stage": row.stage, "state": row.state}
    event = store.rollouts.RolloutEventRow(
        rollout_id=row.id, at=now, kind=kind, actor=actor, reason=reason, detail=detail
    )
    session.add(event)
    session.flush()
    _publish_event(session, row, event, now)
    audit.record(
        session,
        actor=actor,
        verb=f"rollout.{kind}",
        subject=f"rollout:{row.name}",
        now=now,
        detail={**detail, "reason": reason},
    )


def _publish_event(
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
    suffix = f": {event.reason}" if event.reason else ""
    text = (
        f"{row.name} ({row.model} {data['version']}): {event.kind} by {event.actor}, now {row.state}{suffix}"
    )
    webhooks.publish(session, f"rollout.{event.kind}", data, text, now=now)


def require_ready_version(version: store.versions.VersionRow | None) -> None:
    """Check that a version can be rolled out.

    Raises:
        VersionNotReady: it is in another state, or has been deleted.
    """
    if version is None or version.state != "ready":
        state = version.state if version else "deleted"
        raise VersionNotReady(
            f"the version is {state}; only a ready version can be rolled out", field="version", state=state
        )


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
