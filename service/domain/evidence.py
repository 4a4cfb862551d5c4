"""Evidence that stays valid however often one looks: e-processes for rates, means and shares.

An e-process starts at 1 and, while the hypothesis holds, has an expectation of at most 1 at every
moment, also at one chosen by looking. By Ville's inequality it then ever reaches 1/alpha with a
probability of at most alpha, so a gate may look after each single report.

For rates it is a finite mixture of likelihood ratios (Robbins, "Statistical methods related to
the law of the iterated logarithm", Ann. Math. Stat. 41, 1970; Ville, "Étude critique de la notion de
collectif", 1939): a rate above the bound against the bound itself. Each ratio's expectation grows
with the true rate, so it is at most 1 for every rate up to the bound.

For means it is Robbins' mixture over a half-normal, with the spread estimated as one goes: the one-sided
asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas ("Time-uniform central
limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024), written as evidence.
"""

import math

ALPHA = 0.05
"""Chance that a rollout whose rate is within its bound is ever stopped by that gate."""

TUNED_FOR = 1000
"""Values (in each arm) at which evidence about means is at its sharpest."""
_SHARPEST = 8.0
"""Information, relative to the mixture's own, at which its boundary is lowest: -2 ln a + ln(-2 ln a) + 1, a ~ 0.05."""

_FAR = -20.0

PRIOR_WEIGHT = 20.0
"""Devices that the expected share weighs before the first one is seen, in `share_off`."""

ANYTHING = 1 - 1e-9
"""A bound this close to 1 allows everything; nearer, the alternatives could not be told from it."""

ALTERNATIVES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Odds ratios to the bound over which the mixture spreads: small excesses need many reports, large ones few."""


def rate_above(bad: int, reports: int, bound: float) -> float:
    """Log of the evidence that a rate is above `bound`.

    Args:
        bad: reports that count against the rate.
        reports: all reports.
        bound: the rate that is still allowed, 0 to 1.

    Returns:
        Natural logarithm of the e-value: 0 for none, `inf` for certainty (a bad report where none is allowed).
    """
    if bound <= 0:
        return math.inf if bad else 0.0
    if bound >= ANYTHING:
        return 0.0
    logs = [_log_ratio(bad, reports, bound, odds) for odds in ALTERNATIVES]
    greatest = max(logs)
    return greatest + math.log(sum(math.exp(value - greatest) for value in logs) / len(logs))


def mean_above(excess: float, variance: float, variance_when_tuned: float) -> float:
    """Log of the evidence that a mean, or a difference of two, is above its bound.

    With z = excess / sqrt(variance) and r the information relative to the mixture's, the evidence is
    2 (r + 1)^(-1/2) exp(z^2 r / (2 (r + 1))) P(N <= z sqrt(r / (r + 1))): what the likelihood ratio of a
    Brownian motion with drift is worth, averaged over drifts above 0. It holds for a difference as for one mean:
    estimates that approach normal ones satisfy Cov(D_s, D_t) = Var(D_t) for s < t, in whatever order the
    two arms come in, so that D / Var(D) is a Brownian motion in the time 1 / Var(D).

    Args:
        excess: estimate less its bound.
        variance: of the estimate, now.
        variance_when_tuned: of the estimate when `TUNED_FOR` values have come in on each side.

    Returns:
        Natural logarithm of the e-value, about 0 or below for none.
    """
    if not variance > 0:
        return 0.0
    information = _SHARPEST * variance_when_tuned / variance
    part = information / (information + 1)
    return math.log(2) - math.log(information + 1) / 2 + _log_mills(excess * math.sqrt(part / variance))


def share_off(inside: int, outside: int, share: float) -> float:
    """Log of the evidence that devices are not divided as they should be.

    The beta-binomial mixture around the expected share against that share itself (Robbins, as above).

    Args:
        inside: devices that were let in.
        outside: devices that were not.
        share: chance of a device to be let in, above 0 and below 1.
    """
    a, b = PRIOR_WEIGHT * share, PRIOR_WEIGHT * (1 - share)
    mixed = _log_beta(a + inside, b + outside) - _log_beta(a, b)
    return mixed - inside * math.log(share) - outside * math.log(1 - share)


def convincing(log_evidence: float, alpha: float = ALPHA) -> bool:
    """Whether evidence is enough to act on, at a level of false alarms."""
    return log_evidence >= -math.log(alpha)


def _log_ratio(bad: int, reports: int, bound: float, odds_ratio: float) -> float:
    """Log likelihood of a rate whose odds are `odds_ratio` times the bound's, less that of the bound."""
    odds = odds_ratio * bound / (1 - bound)
    rate = odds / (1 + odds)
    return bad * math.log(rate / bound) + (reports - bad) * math.log((1 - rate) / (1 - bound))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_mills(x: float) -> float:
    """Log of exp(x^2 / 2) P(N <= x), also where the two factors are too great and too small for numbers."""
    if x < _FAR:
        return -math.log(-x * math.sqrt(2 * math.pi))
    return x * x / 2 + math.log(math.erfc(-x / math.sqrt(2)) / 2)
