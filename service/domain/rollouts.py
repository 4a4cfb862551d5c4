"""The life of a rollout: states, verbs, and what a verdict does."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from service.domain.gates import Hold, MeasureGate, parse_gate
from service.errors import InvalidGate, InvalidStages, ReasonRequired, WrongState

VERBS: Mapping[str, tuple[frozenset[str], str]] = {
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
"""Verb -> states in which it applies, and the state that it leads to.

People say `start`, `approve`, `pause`, `resume`, `promote`, `activate`, `halt`, `rollback` and `cancel`. The others
follow: a `start` that has to wait is a `submit` or a `schedule`, gates `advance` and `complete`.
"""

RISKY = frozenset({"halt", "rollback"})
"""Verbs that take something away from devices and are not undone: never without a reason."""
TERMINAL = frozenset({"rolled_back", "cancelled"})
"""Nothing leads out of these; out of `halted` nothing but `rollback`."""
MAX_STAGES = 20


def after(state: str, verb: str) -> str:
    """The state after a verb.

    Raises:
        WrongState: the verb does not apply; the message says where it does.
    """
    allowed, result = VERBS[verb]
    if state not in allowed:
        raise WrongState(
            f"{verb} applies to {', '.join(sorted(allowed))}; this rollout is {state}", state=state
        )
    return result


def require_reason(verb: str, reason: str) -> None:
    """Refuse to do something risky for no reason.

    Raises:
        ReasonRequired: nothing was said.
    """
    if not reason.strip():
        raise ReasonRequired(
            f"{verb} needs a reason, since others will ask: --reason TEXT, or `reason` in the body",
            field="reason",
        )


def awaits_word(policy: Mapping[str, Any], activated_at: datetime | None) -> bool:
    """Whether devices stage the version and wait for `activate` to switch."""
    return policy.get("activation") == "together" and activated_at is None


def check_stages(
    stages: Sequence[Mapping[str, Any]], *, metrics: Collection[str] | None = (), holdback: float = 0
) -> None:
    """Refuse stages that do not widen, and holds and gates that cannot be read.

    Args:
        stages: as written.
        metrics: what the model's devices measure beyond `measures.KNOWN`; None where the model is not known yet.
        holdback: percentage of the fleet that never gets the version.

    Raises:
        InvalidStages: no stage, too many, a percentage outside (0, 100], or one that shrinks on its cohort.
        InvalidGate: see `gates.parse_gate`.
    """
    if not 0 < len(stages) <= MAX_STAGES:
        raise InvalidStages(f"between 1 and {MAX_STAGES} stages", field="stages")
    widest: dict[str, float] = {}
    for index, stage in enumerate(stages):
        cohort, percent = stage["cohort"], stage["percent"]
        if not 0 < percent <= 100:
            raise InvalidStages(
                f"{percent} is not a percentage above 0 and up to 100", field=f"stages.{index}.percent"
            )
        if percent <= widest.get(cohort, 0):
            raise InvalidStages(
                f"{percent} % of {cohort} does not widen the {widest[cohort]:g} % of an earlier stage",
                field=f"stages.{index}.percent",
            )
        widest[cohort] = percent
        for place, gate in enumerate(stage.get("gates", [])):
            at = f"stages.{index}.gates.{place}"
            parsed = parse_gate(gate, at, metrics)
            if isinstance(parsed, MeasureGate) and parsed.control:
                _require_control(stages[: index + 1], holdback, at)


def _require_control(stages: Sequence[Mapping[str, Any]], holdback: float, at: str) -> None:
    """Somebody has to be left out by chance, or there is nobody to compare with."""
    if not holdback and all(stage["percent"] >= 100 for stage in stages):
        raise InvalidGate(
            "nobody would be left to compare with: set policy.holdback_percent, or a percent below 100 in this "
            "stage or an earlier one",
            field=f"{at}.against",
        )


def hold_of(raw: Mapping[str, Any]) -> Hold:
    """A stage's hold from JSON that has been checked."""
    return Hold(
        raw.get("minutes", 0), raw.get("reports", 1), raw.get("approval", False), raw.get("min_coverage", 0)
    )
