"""Whether a rollout could be rolled back, checked when it is created. Reads only."""

from sqlalchemy.orm import Session

from service import store
from service.domain.polling.rollback_targets import FACTORY, can_roll_back_to
from service.domain.rollouts.policy import Policy
from service.errors import InvalidPolicy

MAX_CANDIDATES = 200


def require(session: Session, version: store.versions.VersionRow, policy: Policy, *, on_breach: str) -> None:
    """Check that a rollback, if the rollout may need one, has a version to return to.

    Raises:
        InvalidPolicy: `rollback_to` is unknown, not older, revoked or below the floor; or a breach rolls back and no
            earlier version is available.
    """
    if policy.rollback_to is not None and policy.rollback_to != FACTORY:
        _require_label(session, version, policy.rollback_to)
    elif (policy.rollback_to or on_breach == "rollback") and not _has_earlier(session, version):
        raise InvalidPolicy(
            f"{version.model} has no earlier version at or above the floor {version.floor} of {version.label}, so no "
            "device could roll back; use on_breach: halt",
            field="policy.rollback_to" if policy.rollback_to else "on_breach",
        )


def _require_label(session: Session, version: store.versions.VersionRow, label: str) -> None:
    target = store.versions.version(session, version.model, label)
    if target is None:
        problem = f"{version.model} has no version {label!r}"
    elif target.state != "ready":
        problem = f"{label} is {target.state}; choose a version that is ready"
    elif target.counter >= version.counter:
        problem = f"{label} is not older than {version.label}"
    elif not can_roll_back_to(target.counter, version):
        problem = (
            f"devices do not go below the floor {version.floor} of {version.label}, "
            f"and the counter of {label} is {target.counter}"
        )
    else:
        return
    raise InvalidPolicy(
        f"{problem}; or omit rollback_to to return each device to its previous version",
        field="policy.rollback_to",
    )


def _has_earlier(session: Session, version: store.versions.VersionRow) -> bool:
    earlier = store.versions.earlier_served(session, version, limit=MAX_CANDIDATES)
    return any(target.state == "ready" and can_roll_back_to(target.counter, version) for target in earlier)
