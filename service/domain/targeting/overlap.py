"""Whether two cohorts may share a device, judged by their rules alone.

Two cohorts are disjoint only if both require different values of the same attribute. A rule that names another
cohort, or a list of devices beside a rule, is never disjoint from anything.
"""

from collections.abc import Mapping
from typing import Any

RequiredValues = dict[str, set[tuple[bool, Any]]]
"""Attribute -> allowed values; the flag keeps `true` apart from 1."""


def disjoint(rule: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether no device can match both rules."""
    required, others = _required_values(rule), _required_values(other)
    return any(required[name].isdisjoint(others[name]) for name in required.keys() & others.keys())


def _required_values(rule: Mapping[str, Any]) -> RequiredValues:
    """Return the attribute values that every matching device must have, as far as equality clauses tell."""
    if "attr" in rule:
        values = rule["in"] if "in" in rule else [rule["eq"]] if "eq" in rule else None
        return {} if values is None else {rule["attr"]: {(isinstance(one, bool), one) for one in values}}
    found: RequiredValues = {}
    for clause in rule.get("all", ()):
        for name, values in _required_values(clause).items():
            found[name] = found[name] & values if name in found else values
    return found
