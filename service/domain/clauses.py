"""A cohort's rule, clause by clause, as one device meets it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.catalogue import Cohort
from service.domain.cohorts import Attributes, compile_rule

MAX_SHOWN = 100
"""Clauses; more than that nobody reads."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One test of an attribute, or one list of devices.

    Attributes:
        path: where it stands: the cohort, then the way through its rule.
        test: as written.
        holds: for this device; a clause below `not` is shown as it stands, so there it should not.
        seen: the attribute's value; None where the device has none.
    """

    path: str
    test: str
    holds: bool
    seen: Any = None


def clauses_of_cohort(
    name: str, cohorts: Mapping[str, Cohort], device_id: str, attributes: Attributes
) -> tuple[Clause, ...]:
    """The clauses of a cohort and of the cohorts that it names."""
    return _first(_Walk(cohorts, device_id, attributes).cohort(name, ""))


def clauses_of_rule(rule: Any, path: str, device_id: str, attributes: Attributes) -> tuple[Clause, ...]:
    """The clauses of a rule that names no cohorts, such as a variant's selector."""
    return _first(_Walk({}, device_id, attributes).rule(rule, path))


def _first(found: Iterator[Clause]) -> tuple[Clause, ...]:
    return tuple(clause for clause, _ in zip(found, range(MAX_SHOWN), strict=False))


@dataclass(frozen=True, slots=True)
class _Walk:
    cohorts: Mapping[str, Cohort]
    device_id: str
    attributes: Attributes

    def cohort(self, name: str, path: str) -> Iterator[Clause]:
        found, place = self.cohorts.get(name), f"{path}{name}"
        if found is None:
            return
        belongs = found.matches(self.device_id, self.attributes)
        if found.rule is None:
            yield Clause(place, "on its list of devices", belongs)
            return
        by_rule = compile_rule(found.rule, {key: other.matches for key, other in self.cohorts.items()})
        if belongs and not by_rule(self.device_id, self.attributes):
            yield Clause(place, "on its list of devices", holds=True)
        yield from self.rule(found.rule, place)

    def rule(self, rule: Any, path: str) -> Iterator[Clause]:
        if not rule:
            yield Clause(path, "every device", holds=True)
        elif "attr" in rule:
            holds = compile_rule(rule)(self.device_id, self.attributes)
            yield Clause(path, json.dumps(rule), holds, self.attributes.get(rule["attr"]))
        elif "cohort" in rule:
            yield from self.cohort(rule["cohort"], f"{path}: ")
        else:
            keyword, inner = next(iter(rule.items()))
            parts = [inner] if keyword == "not" else inner
            for index, part in enumerate(parts):
                place = f"{path}.{keyword}" if keyword == "not" else f"{path}.{keyword}.{index}"
                yield from self.rule(part, place)
