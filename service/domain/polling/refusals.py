"""The refusal that a poll returns when several rollouts refuse a device: the most specific one."""

from collections.abc import Iterable

from sdk_contract.reasons import Reason
from service.domain.polling.decisions import Decision

LEAST_TO_MOST_SPECIFIC: tuple[Reason, ...] = (
    "no_rollout",
    "not_in_cohort",
    "downgrade",
    "up_to_date",
    "in_holdout",
    "halted",
    "not_in_stage",
    "awaiting_activation",
    "paused",
    "device_class_paused",
    "behind_barrier",
)
_RANK = {reason: rank for rank, reason in enumerate(LEAST_TO_MOST_SPECIFIC)}
_NO_ROLLOUT = (0, Decision("no_rollout"))


def most_specific(refusals: Iterable[tuple[int, Decision]]) -> Decision:
    """Return the most specific of (position of the rollout, refusal); among equals that of the first rollout."""
    return max(refusals, key=_specificity, default=_NO_ROLLOUT)[1]


def _specificity(refusal: tuple[int, Decision]) -> tuple[int, int]:
    position, decision = refusal
    return _RANK[decision.reason], -position
