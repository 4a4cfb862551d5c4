"""The clauses of a rule one by one, as one device meets them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from service.domain.targeting.cohorts import Cohort
from service.domain.targeting.rules import Attributes, compile_rule

MAX_CLAUSES_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Clause:
    """One test of an attribute, or one list of devices.

    Attributes:
        path: where the clause stands: the cohort, then the path through its rule.
        test: the test as its author wrote it.
        matches: whether the device passes; below `not` the test is shown as written, so the device should fail it.
        value: the value of the attribute; None if the device has none.
    """

    path: str
    test: str
    matches: bool
    value: Any = None


def clauses_of_cohort(
    name: str, cohorts: Mapping[str, Cohort], device_id: str, attributes: Attributes
) -> tuple[Clause, ...]:
    """Return the clauses of a cohort and of the cohorts that it names, 100 at most."""
    return tuple(islice(_Walk(cohorts, device_id, attributes).cohort(name, ""), MAX_CLAUSES_SHOWN))


def clauses_of_rule(rule: Any, path: str, device_id: str, attributes: Attributes) -> tuple[Clause, ...]:
    """Return the clauses of a rule that names no cohorts, such as a variant's selector, 100 at most."""
    return tuple(islice(_Walk({}, device_id, attributes).rule(rule, path), MAX_CLAUSES_SHOWN))


@dataclass(frozen=True, slots=True)
class _Walk:
    cohorts: Mapping[str, Cohort]
    device_id: str
    attributes: Attributes

    def cohort(self, name: str, prefix: str) -> Iterator[Clause]:
        cohort, path = self.cohorts.get(name), f"{prefix}{name}"
        if cohort is None:
            return
        is_member = cohort.matches(self.device_id, self.attributes)
        if cohort.rule is None:
            yield Clause(path, "on its list of devices", is_member)
            return
        predicate = compile_rule(cohort.rule, {key: other.matches for key, other in self.cohorts.items()})
        if is_member and not predicate(self.device_id, self.attributes):
            yield Clause(path, "on its list of devices", matches=True)
        yield from self.rule(cohort.rule, path)

    def rule(self, rule: Any, path: str) -> Iterator[Clause]:
        if not rule:
            yield Clause(path, "every device", matches=True)
        elif "attr" in rule:
            matches = compile_rule(rule)(self.device_id, self.attributes)
            yield Clause(path, json.dumps(rule), matches, self.attributes.get(rule["attr"]))
        elif "cohort" in rule:
            yield from self.cohort(rule["cohort"], f"{path}: ")
        else:
            keyword, value = next(iter(rule.items()))
            children = [value] if keyword == "not" else value
            for index, child in enumerate(children):
                child_path = f"{path}.{keyword}" if keyword == "not" else f"{path}.{keyword}.{index}"
                yield from self.rule(child, child_path)
