"""The life cycle of a rollout: its states and the transitions between them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.errors import ReasonRequired, WrongState

TRANSITIONS: Mapping[str, tuple[frozenset[str], str]] = {
    "submit": (frozenset({"draft"}), "awaiting_approval"),
    "approve": (frozenset({"awaiting_approval"}), "awaiting_approval"),
    "schedule": (frozenset({"draft", "awaiting_approval"}), "scheduled"),
    "start": (frozenset({"draft", "scheduled"}), "running"),
    "pause": (frozenset({"running"}), "paused"),
    "resume": (frozenset({"paused"}), "running"),
    "promote": (frozenset({"running"}), "running"),
    "advance": (frozenset({"running"}), "running"),
    "activate": (frozenset({"running"}), "running"),
    "complete": (frozenset({"running"}), "completed"),
    "halt": (frozenset({"running", "paused", "completed"}), "halted"),
    "rollback": (frozenset({"running", "paused", "completed", "halted"}), "rolled_back"),
    "cancel": (frozenset({"draft", "awaiting_approval", "scheduled"}), "cancelled"),
}
"""Verb -> the states in which it applies, and the state that it leads to.

Users `start`, `approve`, `pause`, `resume`, `promote`, `activate`, `halt`, `rollback` and `cancel`. The other verbs
follow from these: a `start` that has to wait becomes `submit` or `schedule`, and gates `advance` and `complete`.
"""

NEEDS_REASON = frozenset({"halt", "rollback"})
"""Verbs that take something away from devices and cannot be undone."""


def next_state(state: str, verb: str) -> str:
    """Return the state after a verb.

    Raises:
        WrongState: the verb does not apply in this state.
    """
    allowed, result = TRANSITIONS[verb]
    if state not in allowed:
        raise WrongState(
            f"this rollout is {state}; {verb} applies to {', '.join(sorted(allowed))}", state=state
        )
    return result


def require_reason(action: str, reason: str) -> None:
    """Refuse a risky action without a reason.

    Raises:
        ReasonRequired: the reason is empty.
    """
    if not reason.strip():
        raise ReasonRequired(
            f"{action} requires a reason; use --reason TEXT, or `reason` in the body",
            field="reason",
        )


def awaits_activation(policy: Mapping[str, Any], activated_at: datetime | None) -> bool:
    """Return whether devices stage the version and wait for `activate`."""
    return policy.get("activation") == "deferred" and activated_at is None
