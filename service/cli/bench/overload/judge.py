"""What the sums of a run amount to: goodput, cost, recovery."""

from collections.abc import Sequence
from typing import Any

from service.cli.bench.overload.plan import Outcome, Stretch, Told

NEAR = 0.9
"""A rate is near the asked one from this share on; below it the run says that it is not what it says it is."""
ITSELF = 2.0
"""It is itself again when the 99th percentile is at most so many times what it was before, or `UNHURRIED_MS`."""
UNHURRIED_MS = 50.0


def judged(told: Told, most: Stretch, times: float) -> dict[str, Any]:
    """The figures of a run whose phases are before, overload and after.

    Args:
        told: by the generator.
        most: what the server has shown alone.
        times: of that were asked for.
    """
    before, load, after = told.phases
    peak = most.per_second(Outcome.ANSWERED)
    asked, offered = load.due / load.seconds, load.sent / load.seconds
    good = load.per_second(Outcome.ANSWERED)
    return {
        "peak_per_second": round(peak),
        "times": times,
        "asked_per_second": round(asked),
        "offered_per_second": round(offered),
        "offered_as_asked": offered >= NEAR * asked,
        "goodput_per_second": round(good),
        "goodput_of_peak": _ratio(good, peak),
        "server_cpu": {one.name: one.server_cpu for one in (most, *told.phases)},
        "goodput_of_peak_same_cpu": _ratio(
            good / max(load.server_cpu, 0.01), peak / max(most.server_cpu, 0.01)
        ),
        "outcomes_per_second": {
            name: round(count / load.seconds, 1) for name, count in load.outcomes.items()
        },
        "other_statuses": told.statuses,
        "p50_ms": {one.name: one.p50_ms for one in told.phases},
        "p99_ms": {one.name: one.p99_ms for one in told.phases},
        "recovery_s": recovery_s(told.windows, before, after),
        "next_poll_s": {
            "before": before.next_poll_s,
            "overload": load.next_poll_s,
            "end": _last(told.windows),
        },
        "windows": [_row(one) for one in told.windows],
        "generator": {"cpu": told.cpu, "lag_ms": told.lag_ms, "connections": told.open_at_most},
    }


def recovery_s(windows: Sequence[Stretch], before: Stretch, after: Stretch) -> float | None:
    """Seconds from the end of the overload until every later window is as it was before; None if it never is."""
    limit = max(UNHURRIED_MS, ITSELF * (before.p99_ms or 0.0))
    recovered: float | None = None
    for window in reversed([one for one in windows if one.name == after.name and one.due]):
        if not is_itself(window, limit):
            break
        recovered = max(0.0, window.at_s - after.at_s)
    return recovered


def is_itself(window: Stretch, limit_ms: float) -> bool:
    """Whether nearly all of its requests were answered, and quickly."""
    answered = window.outcomes.get(Outcome.ANSWERED, 0)
    return answered >= 0.99 * window.due and window.p99_ms is not None and window.p99_ms <= limit_ms


def _row(window: Stretch) -> dict[str, Any]:
    """One window for whoever draws it."""
    return {
        "at_s": window.at_s,
        "due": window.due,
        "sent": window.sent,
        **window.outcomes,
        "p50_ms": window.p50_ms,
        "p99_ms": window.p99_ms,
        "next_poll_s": window.next_poll_s,
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 2) if whole else None


def _last(windows: Sequence[Stretch]) -> float | None:
    told = [one.next_poll_s for one in windows if one.next_poll_s is not None]
    return told[-1] if told else None
