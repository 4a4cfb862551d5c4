"""All scenarios, in the order in which an SDK author meets them."""

from sdk_contract.conformance.scenario import Scenario
from sdk_contract.conformance.scenarios import (
    backwards,
    everyday,
    forgery,
    freshness,
    living,
    mixing,
    network,
    parsing,
    patchwork,
    sizes,
    switching,
    talking,
    trusting,
)

_BOOKS = (
    everyday,
    talking,
    forgery,
    freshness,
    backwards,
    trusting,
    mixing,
    parsing,
    sizes,
    network,
    patchwork,
    living,
    switching,
)
SCENARIOS: tuple[Scenario, ...] = tuple(scenario for book in _BOOKS for scenario in book.BOOK)
