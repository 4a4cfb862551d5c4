"""Counts of attempts by outcome."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.domain.gates.definitions import RATES


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """Attempts by outcome.

    Attributes:
        offered: attempts that were offered.
        committed: attempts after which the device runs the version.
        failed: attempts that failed before the version was activated.
        rolled_back: attempts after which the device went back by itself.
        timed_out: attempts without a report until their lease ended.
        withdrawn: attempts that the server withdrew.
        early_reports: outcomes that came within an hour of the offer.
        early_failures: those of them that were failures.
    """

    offered: int = 0
    committed: int = 0
    failed: int = 0
    rolled_back: int = 0
    timed_out: int = 0
    withdrawn: int = 0
    early_reports: int = 0
    early_failures: int = 0

    @property
    def reports(self) -> int:
        """Attempts with a known outcome; silence past the lease is an outcome."""
        return self.committed + self.failed + self.rolled_back + self.timed_out

    @property
    def coverage(self) -> float:
        """Share of the attempts with a known outcome, without withdrawn ones; 0 for no attempts."""
        expected = max(self.offered - self.withdrawn, self.reports)
        return self.reports / expected if expected else 0.0

    def failures_for(self, metric: str) -> int:
        """Return the outcomes that count against a rate, one of `RATES`."""
        return sum(getattr(self, name) for name in RATES[metric])

    def plus(self, other: "OutcomeCounts") -> "OutcomeCounts":
        """Return the sum."""
        return OutcomeCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def minus(self, other: "OutcomeCounts") -> "OutcomeCounts":
        """Return what was added since `other`."""
        return OutcomeCounts(*(max(0, getattr(self, name) - getattr(other, name)) for name in self.__slots__))


def total(counts: Iterable[OutcomeCounts]) -> OutcomeCounts:
    """Return the sum of several counts."""
    result = OutcomeCounts()
    for each in counts:
        result = result.plus(each)
    return result
