"""Whether two cohorts may have a device in common, told from their rules alone.

Attributes come and go, so "may" is decided on the safe side: two cohorts are apart only where both ask for different
values of the same attribute. A rule that names another cohort, or a list beside a rule, cannot be told apart from
anything.
"""

from collections.abc import Mapping
from typing import Any

Required = dict[str, set[tuple[bool, Any]]]
"""Attribute -> the values that it must have; a flag keeps `true` from being 1."""


def apart(rule: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether no device can match both rules."""
    required, others = _required(rule), _required(other)
    return any(required[name].isdisjoint(others[name]) for name in required.keys() & others.keys())


def _required(rule: Mapping[str, Any]) -> Required:
    """What every device that matches must have, as far as single values can say it."""
    if "attr" in rule:
        values = rule["in"] if "in" in rule else [rule["eq"]] if "eq" in rule else None
        return {} if values is None else {rule["attr"]: {(isinstance(one, bool), one) for one in values}}
    found: Required = {}
    for clause in rule.get("all", ()):
        for name, values in _required(clause).items():
            found[name] = found[name] & values if name in found else values
    return found
