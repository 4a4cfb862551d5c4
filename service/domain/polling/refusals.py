"""Which of several refusals a device is told."""

from collections.abc import Iterable
from operator import itemgetter

from sdk_contract.wire import Reason
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


def most_specific(refusals: Iterable[tuple[int, Decision]]) -> Decision:
    """Return the most specific of (position of the rollout, refusal); among equals that of the first rollout."""
    ranked = (((_RANK[refusal.reason], -position), refusal) for position, refusal in refusals)
    found = max(ranked, key=itemgetter(0), default=None)
    return found[1] if found is not None else Decision("no_rollout")
