"""All scenarios, in the order in which an SDK author needs them."""

from sdk_contract.conformance.scenario import Scenario
from sdk_contract.conformance.scenarios.attacks import (
    forgery,
    freshness,
    mix_and_match,
    parsing,
    rollback,
    sizes,
    trust,
)
from sdk_contract.conformance.scenarios.delivery import network, patch, resilience, urls
from sdk_contract.conformance.scenarios.normal_use import api, deferred_activation, happy_path, reporting

_SUITES = (
    happy_path,
    api,
    reporting,
    forgery,
    freshness,
    rollback,
    trust,
    mix_and_match,
    parsing,
    sizes,
    network,
    urls,
    patch,
    resilience,
    deferred_activation,
)
SCENARIOS: tuple[Scenario, ...] = tuple(scenario for module in _SUITES for scenario in module.SUITE)
