"""Evidence that stays valid however often one looks: e-processes for rates.

An e-process starts at 1 and, while the hypothesis holds, has an expectation of at most 1 at every
moment, also at one chosen by looking. By Ville's inequality it then ever reaches 1/alpha with a
probability of at most alpha, so a gate may look after each single report.

The one used here is a finite mixture of likelihood ratios (Robbins, "Statistical methods related to
the law of the iterated logarithm", Ann. Math. Stat. 41, 1970; Ville, "Étude critique de la notion de
collectif", 1939): a rate above the bound against the bound itself. Each ratio's expectation grows
with the true rate, so it is at most 1 for every rate up to the bound.
"""

import math

ALPHA = 0.05
"""Chance that a rollout whose rate is within its bound is ever stopped by that gate."""

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


def convincing(log_evidence: float, alpha: float = ALPHA) -> bool:
    """Whether evidence is enough to act on, at a level of false alarms."""
    return log_evidence >= -math.log(alpha)


def _log_ratio(bad: int, reports: int, bound: float, odds_ratio: float) -> float:
    """Log likelihood of a rate whose odds are `odds_ratio` times the bound's, less that of the bound."""
    odds = odds_ratio * bound / (1 - bound)
    rate = odds / (1 + odds)
    return bad * math.log(rate / bound) + (reports - bad) * math.log((1 - rate) / (1 - bound))
