"""Whether a rollout could be rolled back at all, asked when it is written down. Reads only."""

from sqlalchemy.orm import Session

from service import store
from service.domain.policy import Policy
from service.domain.rollbacks import FACTORY, reachable
from service.errors import InvalidPolicy

LOOKED_AT = 200


def require(session: Session, version: store.versions.VersionRow, policy: Policy, *, on_breach: str) -> None:
    """Refuse a rollout whose rollback would lead nowhere.

    Raises:
        InvalidPolicy: `back_to` is unknown, newer, revoked or below the floor; or a breach shall roll back, and
            there is no earlier version that devices may go back to.
    """
    if policy.back_to is not None and policy.back_to != FACTORY:
        _require_label(session, version, policy.back_to)
    elif (policy.back_to or on_breach == "rollback") and not _has_earlier(session, version):
        raise InvalidPolicy(
            f"there is no earlier version of {version.model} at or above the floor {version.floor} of "
            f"{version.label}, so no device could go back: use on_breach: halt",
            field="policy.back_to" if policy.back_to else "on_breach",
        )


def _require_label(session: Session, version: store.versions.VersionRow, label: str) -> None:
    target = store.versions.version(session, version.model, label)
    if target is None:
        problem = f"{version.model} has no version {label!r}"
    elif target.state != "ready":
        problem = f"{label} is {target.state}; name one that is ready"
    elif target.counter >= version.counter:
        problem = f"{label} is not older than {version.label}"
    elif not reachable(target.counter, version):
        problem = f"the floor of {version.label} is {version.floor}: devices refuse to go below, and {label} is {target.counter}"
    else:
        return
    raise InvalidPolicy(
        f"{problem}; leave back_to out for the version that each device came from", field="policy.back_to"
    )


def _has_earlier(session: Session, version: store.versions.VersionRow) -> bool:
    earlier = store.versions.earlier_served(session, version, limit=LOOKED_AT)
    return any(base.state == "ready" and reachable(base.counter, version) for base in earlier)
