"""What devices measure, kept as histograms of logarithms: small, addable, and good enough for means and spreads.

A bucket is 5 % wide. Gates compare logarithms, since what is reported (milliseconds, tokens per second,
megabytes, scores) is positive, skewed, and judged in per cent.
"""

import math
from dataclasses import dataclass

KNOWN = ("load_ms", "first_token_ms", "tokens_per_s", "peak_memory_mb", "quality")
"""Names that mean the same everywhere; a model's devices may report others."""
MAX_NAMES = 64
"""Further names per model; what comes beyond is kept with the events and counted nowhere."""

WIDTH = 0.05
"""Of a bucket, in natural logarithms."""
SHARE_STEPS = 10_000
"""Chances are kept as whole numbers of these."""
LEAST, MOST = 1e-3, 1e12
"""Smaller and larger values count as these: a score of 0 has to weigh, and cannot weigh without bound."""


def bucket(value: float) -> int | None:
    """The bucket of a value, or None for what cannot have been measured (negative, not a number).

    Between -139 and 552; bucket b holds values from exp(0.05 b) to exp(0.05 (b + 1)).
    """
    if not value >= 0:
        return None
    return math.floor(math.log(min(max(value, LEAST), MOST)) / WIDTH)


@dataclass(frozen=True, slots=True)
class Moments:
    """How many values, and the sums of their buckets' numbers and of the squares of these."""

    count: int = 0
    first: int = 0
    second: int = 0

    def plus(self, other: "Moments") -> "Moments":
        """Both together."""
        return Moments(self.count + other.count, self.first + other.first, self.second + other.second)

    def minus(self, other: "Moments") -> "Moments":
        """What has been added since `other`."""
        return Moments(self.count - other.count, self.first - other.first, self.second - other.second)

    @property
    def mean(self) -> float:
        """Mean of the logarithms, every value taken at the middle of its bucket; 0 for no values."""
        return WIDTH * (self.first / self.count + 0.5) if self.count else 0.0

    @property
    def typical(self) -> float:
        """The geometric mean, in the metric's own unit."""
        return math.exp(self.mean)

    @property
    def scatter(self) -> float:
        """Sum of squared distances of the logarithms from their mean.

        Never less than that of even values within a bucket: values which all fell into one are not taken for
        values without any spread.
        """
        if not self.count:
            return 0.0
        # In whole numbers up to the division: no digits are lost however many values there are.
        between = (self.count * self.second - self.first * self.first) / self.count
        return WIDTH * WIDTH * max(between, self.count / 12)


@dataclass(frozen=True, slots=True)
class Compared:
    """Values of devices with the new version, and of devices like them without it."""

    treated: Moments = Moments()
    control: Moments = Moments()

    def plus(self, other: "Compared") -> "Compared":
        """Both together."""
        return Compared(self.treated.plus(other.treated), self.control.plus(other.control))

    def minus(self, other: "Compared") -> "Compared":
        """What has been added since `other`."""
        return Compared(self.treated.minus(other.treated), self.control.minus(other.control))
