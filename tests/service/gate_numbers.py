"""Prints the worked numbers in `service/guide/gates.md`: `python -m tests.service.gate_numbers`."""

import math
import random
import statistics
import sys

from service.domain.gates.evidence import TUNED_SAMPLE_SIZE, mean_evidence, rate_evidence
from service.domain.gates.gate_evaluation import MIN_FAILURES
from service.domain.gates.stage_evaluation import ALPHA_FLEET

THRESHOLD = -math.log(ALPHA_FLEET)
"""The evidence that a stage with one gate needs for a breach."""
LOG_VARIANCE = math.log(1 + 0.5**2)
"""Variance of the logarithms of log-normal values with a coefficient of variation of 0.5."""


def fewest_failures(reports, bound):
    """The fewest failures for which a rate gate is in breach."""
    return next(
        failures
        for failures in range(MIN_FAILURES, reports + 1)
        if rate_evidence(failures, reports, bound) >= THRESHOLD
    )


def reports_until_breach(rate, bound, rollouts, limit=20_000):
    """For each simulated rollout, sorted, the report at which it is stopped; infinity beyond `limit` reports."""
    chance = random.Random(f"{rate} {bound}")
    return sorted(_until_breach(chance, rate, bound, limit) for _ in range(rollouts))


def _until_breach(chance, rate, bound, limit):
    failures = 0
    for reports in range(1, limit + 1):
        if chance.random() < rate:
            failures += 1
            if failures >= MIN_FAILURES and rate_evidence(failures, reports, bound) >= THRESHOLD:
                return reports
    return math.inf


def smallest_difference(devices):
    """The smallest ratio of two means beyond the bound, minus 1, that is a breach with so many devices per arm."""
    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        found = mean_evidence(middle, 2 * LOG_VARIANCE / devices, 2 * LOG_VARIANCE / TUNED_SAMPLE_SIZE)
        low, high = (low, middle) if found >= THRESHOLD else (middle, high)
    return math.expm1(high)


def lines():
    """The numbers, one line for each row of the page."""
    for reports in (20, 50, 100, 200, 500, 1000, 2000, 10_000):
        yield f"{reports:,} reports: {[fewest_failures(reports, bound) for bound in (0.01, 0.02, 0.05)]}"
    for bound, rate in ((0.02, 0.03), (0.02, 0.04), (0.02, 0.06), (0.02, 0.10), (0.05, 0.10)):
        stopped = reports_until_breach(rate, bound, 400)
        yield (
            f"bound {bound}, rate {rate}: median {statistics.median_low(stopped):,}, 90 % {stopped[360]:,}"
        )
    for rate in (0.02, 0.015):
        stopped = reports_until_breach(rate, 0.02, 1000, limit=5000)
        share = sum(reports < math.inf for reports in stopped) / len(stopped)
        yield (f"bound 0.02, rate {rate}: {share:.1%} stopped within 5,000 reports")
    for devices in (100, 300, 500, 1000, 2000, 5000):
        yield (f"{devices:,} devices per arm: {smallest_difference(devices):.1%}")


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
