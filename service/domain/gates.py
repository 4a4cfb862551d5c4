"""Is a stage doing well enough to go on? Fails closed: without enough reports the answer is "hold"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from service.domain import evidence
from service.errors import InvalidGate

Outcome = Literal["advance", "hold", "breach"]

METRICS = {
    "failure_rate": ("failed", "rolled_back", "timed_out"),
    "crash_rate": ("rolled_back",),
    "rollback_rate": ("rolled_back",),
    "timeout_rate": ("timed_out",),
}
"""Rate -> the outcomes that count against it."""
WAITS_FOR_PROMOTE = "waits for promote"
"""The verdict when all else holds."""
MIN_BAD = 2
"""One bad report is an accident, even where none is allowed."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of the attempts that a stage admitted."""

    offered: int = 0
    committed: int = 0
    failed: int = 0
    rolled_back: int = 0
    timed_out: int = 0

    @property
    def reports(self) -> int:
        """Attempts whose outcome is known; silence past the lease is one."""
        return self.committed + self.failed + self.rolled_back + self.timed_out

    def against(self, metric: str) -> int:
        """Reports that count against a rate."""
        return sum(getattr(self, name) for name in METRICS[metric])

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            self.offered + other.offered,
            self.committed + other.committed,
            self.failed + other.failed,
            self.rolled_back + other.rolled_back,
            self.timed_out + other.timed_out,
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on a rate.

    Attributes:
        metric: one of `METRICS`.
        max: the rate, 0 to 1, above which the rollout is in breach.
    """

    metric: str
    max: float


@dataclass(frozen=True, slots=True)
class Hold:
    """What must have happened before a stage may end.

    Attributes:
        minutes: time since the stage began.
        reports: outcomes of the stage's own devices.
        approval: wait for a person (`promote`).
    """

    minutes: float = 0
    reports: int = 1
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gates say, and the sentence that explains it."""

    outcome: Outcome
    reason: str


def parse_gate(raw: Any, path: str) -> Gate:
    """A gate from JSON.

    Raises:
        InvalidGate: unknown metric or a bound outside 0..1; `field` says where.
    """
    metric = raw.get("metric") if isinstance(raw, dict) else None
    if not isinstance(metric, str) or metric not in METRICS:
        raise InvalidGate(f"metric is one of {', '.join(METRICS)}", field=f"{path}.metric")
    bound = raw.get("max")
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound <= 1:
        raise InvalidGate("a rate between 0 and 1", field=f"{path}.max")
    return Gate(metric, float(bound))


def judge(gates: Sequence[Gate], hold: Hold, own: Tally, all_stages: Tally, age: timedelta) -> Verdict:
    """Look at a stage; looking often does no harm (see `evidence`).

    A gate is in breach when the evidence against it is convincing; a rate that is merely above its bound
    holds the stage back until more reports have decided.

    Args:
        gates: bounds that must hold.
        hold: what has to have happened first.
        own: outcomes of the devices that this stage admitted.
        all_stages: outcomes of the whole rollout so far; the gates look at these.
        age: how long the stage has been running.
    """
    doubts = []
    for gate in gates:
        bad, reports = all_stages.against(gate.metric), all_stages.reports
        said = f"{gate.metric} {bad}/{reports} is above {gate.max:.2%}"
        if bad >= MIN_BAD and evidence.convincing(evidence.rate_above(bad, reports, gate.max)):
            return Verdict("breach", said)
        if reports and bad / reports > gate.max:
            doubts.append(said)
    return Verdict("hold", f"{doubts[0]}, not yet for certain") if doubts else _ripe(hold, own, age)


def _ripe(hold: Hold, own: Tally, age: timedelta) -> Verdict:
    if age < timedelta(minutes=hold.minutes):
        return Verdict("hold", f"{hold.minutes:g} minutes are not over")
    if own.reports < hold.reports:
        return Verdict("hold", f"{own.reports} of {hold.reports} reports")
    if hold.approval:
        return Verdict("hold", WAITS_FOR_PROMOTE)
    return Verdict("advance", f"{own.reports} reports, all gates hold")
