"""Evidence that stays valid however often it is evaluated: e-processes for rates, means and sample ratios.

An e-process starts at 1. While the hypothesis holds, its expectation is at most 1 at every time, including a time that
was chosen by looking at the data. By Ville's inequality it then reaches 1/alpha with a probability of at most alpha,
so a gate may be evaluated after every report.

Rates: a finite mixture of likelihood ratios (Robbins, "Statistical methods related to the law of the iterated
logarithm", Ann. Math. Stat. 41, 1970; Ville, "Étude critique de la notion de collectif", 1939) of rates above the
bound against the bound itself. The expectation of each ratio grows with the true rate, so it is at most 1 for every
rate up to the bound.

Means: Robbins' mixture over a half-normal distribution, with an estimated variance: the one-sided asymptotic
confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas ("Time-uniform central limit theory and
asymptotic confidence sequences", Annals of Statistics 52(6), 2024), expressed as evidence.
"""

import math

ALPHA = 0.05
"""Probability that a gate ever stops a rollout whose rate is within its bound."""

TUNED_SAMPLE_SIZE = 1000
"""Values per arm at which evidence about means is most sensitive."""
_OPTIMAL_INFORMATION = 8.0
"""Information relative to the mixture's at which the bound is lowest: -2 ln a + ln(-2 ln a) + 1 for a = 0.05."""

_ASYMPTOTIC_BELOW = -20.0
"""Below this the normal distribution is replaced by its asymptotic expansion."""

PRIOR_WEIGHT = 20.0
"""Devices that the expected ratio weighs in `sample_ratio_evidence` before a device is seen."""

ALLOWS_ALL = 1 - 1e-9
"""A bound above this allows every rate; the alternatives could not be distinguished from it."""

ALTERNATIVES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Odds ratios to the bound in the mixture: a small excess needs many reports, a large one few."""


def rate_evidence(failures: int, reports: int, bound: float) -> float:
    """Return the evidence that a rate is above `bound`.

    Args:
        failures: reports that count against the rate.
        reports: all reports.
        bound: highest allowed rate, 0 to 1.

    Returns:
        Natural logarithm of the e-value: 0 for none, `inf` for certainty (a failure if none is allowed).
    """
    if bound <= 0:
        return math.inf if failures else 0.0
    if bound >= ALLOWS_ALL:
        return 0.0
    logs = [_log_likelihood_ratio(failures, reports, bound, odds_ratio) for odds_ratio in ALTERNATIVES]
    greatest = max(logs)
    return greatest + math.log(sum(math.exp(value - greatest) for value in logs) / len(logs))


def mean_evidence(excess: float, variance: float, tuned_variance: float) -> float:
    """Return the evidence that a mean, or a difference of two means, is above its bound.

    With z = excess / sqrt(variance), and r the information relative to the mixture's, the e-value is
    2 (r + 1)^(-1/2) exp(z^2 r / (2 (r + 1))) P(N <= z sqrt(r / (r + 1))): the likelihood ratio of a Brownian motion with
    drift, averaged over positive drifts. It holds for differences too: asymptotically normal estimates satisfy
    Cov(D_s, D_t) = Var(D_t) for s < t, in whatever order the two arms grow, so D / Var(D) is a Brownian motion in the
    time 1 / Var(D).

    Args:
        excess: estimate minus bound.
        variance: variance of the estimate.
        tuned_variance: variance of the estimate at `TUNED_SAMPLE_SIZE` values per arm.

    Returns:
        Natural logarithm of the e-value, about 0 or below for none.
    """
    if not variance > 0:
        return 0.0
    information = _OPTIMAL_INFORMATION * tuned_variance / variance
    share = information / (information + 1)
    scaled_excess = excess * math.sqrt(share / variance)
    return math.log(2) - math.log(information + 1) / 2 + _log_mills_ratio(scaled_excess)


def sample_ratio_evidence(admitted: int, excluded: int, probability: float) -> float:
    """Return the evidence that devices are not divided by the expected ratio.

    This is the beta-binomial mixture around the expected ratio against the ratio itself (Robbins, as above).

    Args:
        admitted: devices that were admitted.
        excluded: devices that were not.
        probability: probability of being admitted, above 0 and below 1.

    Returns:
        Natural logarithm of the e-value.
    """
    a, b = PRIOR_WEIGHT * probability, PRIOR_WEIGHT * (1 - probability)
    mixture = _log_beta(a + admitted, b + excluded) - _log_beta(a, b)
    return mixture - admitted * math.log(probability) - excluded * math.log(1 - probability)


def is_convincing(log_evidence: float, alpha: float = ALPHA) -> bool:
    """Return whether evidence is enough to act on at a rate of false alarms of `alpha`."""
    return log_evidence >= -math.log(alpha)


def _log_likelihood_ratio(failures: int, reports: int, bound: float, odds_ratio: float) -> float:
    """Return the log likelihood of a rate with `odds_ratio` times the bound's odds, minus that of the bound."""
    odds = odds_ratio * bound / (1 - bound)
    rate = odds / (1 + odds)
    return failures * math.log(rate / bound) + (reports - failures) * math.log((1 - rate) / (1 - bound))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_mills_ratio(x: float) -> float:
    """Return the logarithm of exp(x^2 / 2) P(N <= x), even if the factors are too large and too small for floats."""
    if x < _ASYMPTOTIC_BELOW:
        return -math.log(-x * math.sqrt(2 * math.pi))
    return x * x / 2 + math.log(math.erfc(-x / math.sqrt(2)) / 2)
