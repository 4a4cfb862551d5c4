"""Metrics that devices report, as histograms of logarithms: small, additive, and sufficient for means and variances.

A histogram bucket is 5 % wide. Gates compare logarithms, because the values (milliseconds, tokens per second,
megabytes, scores) are positive, skewed, and judged in percent.
"""

import math
from dataclasses import dataclass

STANDARD_METRICS = ("load_ms", "first_token_ms", "tokens_per_s", "peak_memory_mb", "quality")
"""Metrics that mean the same for every model; devices may report others."""
MAX_CUSTOM_METRICS = 64
"""Further metrics per model; others are stored with the events and not counted."""

BUCKET_WIDTH = 0.05
"""Width of a histogram bucket, in natural logarithms."""
ADMISSION_STEPS = 10_000
"""Admission probabilities are stored as multiples of 1 / 10,000."""
MIN_VALUE, MAX_VALUE = 1e-3, 1e12
"""Smaller and larger values count as these, since a score of 0 must count, and not without bound."""


def histogram_bucket(value: float) -> int | None:
    """Return the histogram bucket of a value, -139 to 552; None for a negative value or NaN.

    Bucket b holds values from exp(0.05 b) to exp(0.05 (b + 1)).
    """
    if not value >= 0:
        return None
    return math.floor(math.log(min(max(value, MIN_VALUE), MAX_VALUE)) / BUCKET_WIDTH)


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of reported values.

    Attributes:
        count: number of values.
        bucket_sum: sum of their bucket numbers.
        bucket_square_sum: sum of the squares of their bucket numbers.
    """

    count: int = 0
    bucket_sum: int = 0
    bucket_square_sum: int = 0

    def plus(self, other: "Moments") -> "Moments":
        """Return the moments of both."""
        return Moments(
            self.count + other.count,
            self.bucket_sum + other.bucket_sum,
            self.bucket_square_sum + other.bucket_square_sum,
        )

    def minus(self, other: "Moments") -> "Moments":
        """Return the moments of what was added since `other`."""
        return Moments(
            self.count - other.count,
            self.bucket_sum - other.bucket_sum,
            self.bucket_square_sum - other.bucket_square_sum,
        )

    @property
    def mean(self) -> float:
        """Mean of the logarithms, with every value in the middle of its bucket; 0 for no values."""
        return BUCKET_WIDTH * (self.bucket_sum / self.count + 0.5) if self.count else 0.0

    @property
    def geometric_mean(self) -> float:
        """Geometric mean, in the metric's unit."""
        return math.exp(self.mean)

    @property
    def sum_of_squares(self) -> float:
        """Sum of the squared differences between the logarithms and their mean.

        It is at least that of values spread evenly within a bucket, so that values in one bucket have a variance.
        """
        if not self.count:
            return 0.0
        # Integers up to the division lose no digits, however many values there are.
        between = (self.count * self.bucket_square_sum - self.bucket_sum * self.bucket_sum) / self.count
        return BUCKET_WIDTH * BUCKET_WIDTH * max(between, self.count / 12)


@dataclass(frozen=True, slots=True)
class ArmMoments:
    """Moments of both arms: devices with the new version, and similar devices without it."""

    treatment: Moments = Moments()
    control: Moments = Moments()

    def plus(self, other: "ArmMoments") -> "ArmMoments":
        """Return the moments of both."""
        return ArmMoments(self.treatment.plus(other.treatment), self.control.plus(other.control))

    def minus(self, other: "ArmMoments") -> "ArmMoments":
        """Return the moments of what was added since `other`."""
        return ArmMoments(self.treatment.minus(other.treatment), self.control.minus(other.control))
