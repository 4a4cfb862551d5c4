"""What a bound on a rollout says of the counts so far.

Fails closed: without enough reports the answer is "wait". See `brakes` for what follows from it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from service.domain import evidence
from service.domain.gates import METRICS, AnyGate, Gate, MeasureGate
from service.domain.measures import Compared, Moments

MIN_BAD = 2
"""One bad report is an accident, even where none is allowed."""

Says = Literal["holds", "waits", "doubts", "breach"]
Block = tuple[str, str]
"""(cohort, stratum): devices are compared with their like."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of attempts.

    Attributes:
        early: outcomes that came soon after the offer; `early_bad`: those of them that were no commit.
    """

    offered: int = 0
    committed: int = 0
    failed: int = 0
    rolled_back: int = 0
    timed_out: int = 0
    withdrawn: int = 0
    early: int = 0
    early_bad: int = 0

    @property
    def reports(self) -> int:
        """Attempts whose outcome is known; silence past the lease is one."""
        return self.committed + self.failed + self.rolled_back + self.timed_out

    @property
    def coverage(self) -> float:
        """Share of the attempts, those withdrawn left aside, whose outcome is known; 0 for none."""
        expected = max(self.offered - self.withdrawn, self.reports)
        return self.reports / expected if expected else 0.0

    def against(self, metric: str) -> int:
        """Reports that count against a rate."""
        return sum(getattr(self, name) for name in METRICS[metric])

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def minus(self, other: "Tally") -> "Tally":
        """What has been added since `other`."""
        return Tally(*(max(0, getattr(self, name) - getattr(other, name)) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate says of the counts that it saw.

    Attributes:
        stratum: of which part of the fleet; "" for all of it.
        value: the rate, the geometric mean, or the change against control (0.1 for 10 % more).
        bound: what `value` is compared with.
        reports: outcomes, or values of devices with the version.
        control: values of devices without it.
        evidence: log of the evidence that the bound is exceeded; `needed` is what convinces.
        said: the sentence that explains it.
    """

    metric: str
    says: Says
    value: float | None
    bound: float
    reports: int
    control: int
    evidence: float
    needed: float
    said: str
    stratum: str = ""


def examine(gate: AnyGate, tally: Tally, values: Mapping[Block, Compared], alpha: float) -> Finding:
    """What a gate says; looking often does no harm (see `evidence`).

    It is in breach when the evidence against it is convincing; what is merely beyond its bound is in doubt.

    Args:
        gate: the bound.
        tally: outcomes, for rates.
        values: what was measured, for the other gates.
        alpha: chance that it is ever in breach although its bound is kept.
    """
    if isinstance(gate, Gate):
        return _examine_rate(gate, tally, -math.log(alpha))
    if gate.control:
        return _examine_change(gate, values, -math.log(alpha))
    return _examine_level(gate, values, -math.log(alpha))


def _examine_rate(gate: Gate, tally: Tally, needed: float) -> Finding:
    bad, reports = tally.against(gate.metric), tally.reports
    found = evidence.rate_above(bad, reports, gate.max)
    rate = bad / reports if reports else None
    says: Says = "waits" if rate is None else "doubts" if rate > gate.max else "holds"
    if bad >= MIN_BAD and found >= needed:
        says = "breach"
    relation = "above" if says in {"doubts", "breach"} else "within"
    said = f"{gate.metric} {bad}/{reports} is {relation} {gate.max:.2%}"
    if rate is None:
        said = f"{gate.metric}: no reports"
    return Finding(gate.metric, says, rate, gate.max, reports, 0, found, needed, said)


def _examine_level(gate: MeasureGate, values: Mapping[Block, Compared], needed: float) -> Finding:
    """One mean against a fixed bound."""
    seen = Moments()
    for block in values.values():
        seen = seen.plus(block.treated)
    if seen.count < gate.min_values:
        return _too_few(gate, seen.count, 0, needed)
    spread = seen.scatter / (seen.count - 1)
    excess = _sign(gate) * (seen.mean - math.log(gate.bound))
    found = evidence.mean_above(excess, spread / seen.count, spread / evidence.TUNED_FOR)
    said = f"{gate.metric} is {seen.typical:.4g} for {seen.count:,} devices"
    return _speak(gate, (seen.typical, seen.count, 0), excess, (found, needed), said)


def _examine_change(gate: MeasureGate, values: Mapping[Block, Compared], needed: float) -> Finding:
    """Two means against each other, within each block, since blocks fill at different speeds in the two arms.

    The blocks' differences are weighted by their information: their sum is a Brownian motion as each of them is.
    """
    both = [block for block in values.values() if block.treated.count and block.control.count]
    treated, control = sum(block.treated.count for block in both), sum(block.control.count for block in both)
    if min(treated, control) < gate.min_values:
        return _too_few(gate, treated, control, needed)
    spreads = _spread([block.treated for block in both]), _spread([block.control for block in both])
    drift = information = 0.0
    for block in both:
        variance = spreads[0] / block.treated.count + spreads[1] / block.control.count
        drift += (block.treated.mean - block.control.mean) / variance
        information += 1 / variance
    change = drift / information
    excess = _sign(gate) * (change - math.log1p(_shown(gate)))
    found = evidence.mean_above(excess, 1 / information, sum(spreads) / evidence.TUNED_FOR)
    said = f"{gate.metric} is {math.expm1(change):+.1%} against control ({treated:,} and {control:,} devices)"
    return _speak(gate, (math.expm1(change), treated, control), excess, (found, needed), said)


def _spread(parts: list[Moments]) -> float:
    """Variance of single values around the mean of their own block."""
    freedom = sum(part.count - 1 for part in parts)
    return sum(part.scatter for part in parts) / max(freedom, 1)


def _sign(gate: MeasureGate) -> int:
    return 1 if gate.worse == "up" else -1


def _speak(
    gate: MeasureGate, seen: tuple[float, int, int], excess: float, found: tuple[float, float], said: str
) -> Finding:
    """`seen`: the value and how many it is made of; `found`: the evidence, and what convinces."""
    says: Says = "breach" if found[0] >= found[1] else "doubts" if excess > 0 else "holds"
    relation = "within" if says == "holds" else "above" if gate.worse == "up" else "below"
    bound = _shown(gate)
    limit = f"{bound:+.1%}" if gate.control else f"{bound:.4g}"
    return Finding(gate.metric, says, seen[0], bound, seen[1], seen[2], *found, f"{said}, {relation} {limit}")


def _shown(gate: MeasureGate) -> float:
    """The bound on the scale of the value: a decrease is negative."""
    return _sign(gate) * gate.bound if gate.control else gate.bound


def _too_few(gate: MeasureGate, treated: int, control: int, needed: float) -> Finding:
    against = f" and {control:,} of control" if gate.control else ""
    said = f"{gate.metric}: {treated:,}{against} of {gate.min_values:,} values"
    return Finding(gate.metric, "waits", None, _shown(gate), treated, control, 0.0, needed, said)
