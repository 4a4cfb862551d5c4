"""Grouping of devices that no decision can tell apart.

A decision depends on few things of a device: some attributes, and often only on which side of a number they are; the
lists that contain the device; and the bounds that its bucket lies between. Devices that agree in all of these get the
same decision, so a million devices need only one decision per group, made by the same functions as polls.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.domain.targeting.buckets import BUCKETS, buckets_within

Kind = Literal["words", "numbers", "text"]
ABSENT = -2
"""Code of an attribute that the device does not have."""
UNMATCHED = -1
"""Code of a value that is not a number if rules name numbers only, or of a word that no rule names."""

_WORD_OPERATORS = frozenset({"eq", "ne", "in", "exists"})
_NUMBER_OPERATORS = _WORD_OPERATORS | {"gte", "lte", "gt", "lt"}
_OPERATORS_WITHOUT_EQUALITY = frozenset({"gte", "lt", "exists"})
_WHOLE = "whole"
"""In place of an operator: the whole value counts."""


@dataclass(frozen=True, slots=True)
class GroupingKey:
    """How much of an attribute counts.

    Attributes:
        name: name of the attribute.
        kind: `words`: which of `words` it is; `numbers`: where it lies among `numbers`; `text`: the whole value.
        words: the words, sorted.
        numbers: the numbers, ascending.
        exact: a rule distinguishes a value equal to one of `numbers` from those just above it.
    """

    name: str
    kind: Kind
    words: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    exact: bool = True

    def value(self, code: Any) -> Any:
        """Return a value for which every rule has the same result as for all values with this code."""
        if self.kind == "text":
            return json.loads(code)
        if code == UNMATCHED:
            return max(self.words, default="") + "~"
        return self.words[code] if self.kind == "words" else self._number(code)

    def code(self, value: Any) -> int | str:
        """Return the code that the database computes for a value.

        The code is the position among the words, or 2 i for a number above `numbers[i - 1]`, minus 1 if it is equal.
        """
        if self.kind == "text":
            return json.dumps(value)
        if self.kind == "words":
            return self.words.index(value) if value in self.words else UNMATCHED
        if not isinstance(value, int | float) or isinstance(value, bool):
            return UNMATCHED
        reached = [number for number in self.numbers if number <= value]
        return 2 * len(reached) - (self.exact and value in reached)

    def _number(self, code: int) -> float:
        position = (code + 1) // 2
        if code % 2:
            return self.numbers[position - 1]
        if position == 0:
            return self.numbers[0] - 1
        if position == len(self.numbers):
            return self.numbers[-1] + 1
        return self.numbers[position - 1] + (self.numbers[position] - self.numbers[position - 1]) / 2


@dataclass(frozen=True, slots=True)
class Grouping:
    """Everything that a set of decisions depends on.

    Attributes:
        keys: the attributes.
        lists: cohorts with an explicit list that counts.
        bucket_bounds: (salt, buckets at which a decision may change, ascending, without 0 and 10,000).
    """

    keys: tuple[GroupingKey, ...] = ()
    lists: tuple[str, ...] = ()
    bucket_bounds: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def attributes(self, codes: Sequence[Any]) -> dict[str, Any]:
        """Return attributes that represent all devices with these codes, one code per key."""
        pairs = zip(self.keys, codes, strict=True)
        return {key.name: key.value(code) for key, code in pairs if code != ABSENT}


def grouping_for(
    rules: Iterable[Any],
    cohorts: Mapping[str, Any],
    *,
    listed: Iterable[str] = (),
    percents: Mapping[str, Iterable[float]] | None = None,
    whole: Iterable[str] = (),
) -> Grouping:
    """Return what decisions with these rules and percentages depend on.

    Args:
        rules: the JSON rules.
        cohorts: name -> rule, or None for a plain list; for `{"cohort": name}` at any depth.
        listed: cohorts with an explicit list.
        percents: salt -> percentages.
        whole: attributes that decisions use outside of rules.
    """
    tests: dict[str, list[tuple[str, Any]]] = {name: [(_WHOLE, None)] for name in whole}
    named: set[str] = set()
    for rule in rules:
        for name, operator, value in _attribute_tests(rule, cohorts, named):
            tests.setdefault(name, []).append((operator, value))
    bounds = ((salt, _bucket_bounds(shares)) for salt, shares in (percents or {}).items())
    return Grouping(
        keys=tuple(_key(name, tests[name]) for name in sorted(tests)),
        lists=tuple(sorted(named & set(listed))),
        bucket_bounds=tuple((salt, found) for salt, found in bounds if found),
    )


def _bucket_bounds(percents: Iterable[float]) -> tuple[int, ...]:
    bounds = {buckets_within(percent) for percent in percents}
    return tuple(sorted(bound for bound in bounds if 0 < bound < BUCKETS))


def _attribute_tests(
    rule: Any, cohorts: Mapping[str, Any], named: set[str]
) -> Iterator[tuple[str, str, Any]]:
    """Yield (attribute, operator, value) of all clauses; add the cohorts that are named to `named`."""
    if isinstance(rule, list):
        for child in rule:
            yield from _attribute_tests(child, cohorts, named)
    elif isinstance(rule, dict) and "attr" in rule:
        yield from ((rule["attr"], operator, value) for operator, value in rule.items() if operator != "attr")
    elif isinstance(rule, dict) and "cohort" in rule:
        if rule["cohort"] not in named:
            named.add(rule["cohort"])
            yield from _attribute_tests(cohorts.get(rule["cohort"]), cohorts, named)
    elif isinstance(rule, dict):
        yield from _attribute_tests(list(rule.values()), cohorts, named)


def _key(name: str, tests: Sequence[tuple[str, Any]]) -> GroupingKey:
    operators = {operator for operator, _ in tests}
    constants = [
        constant
        for operator, value in tests
        if operator != "exists"
        for constant in (value if isinstance(value, list) else [value])
    ]
    if operators <= _WORD_OPERATORS and all(_is_word(constant) for constant in constants):
        return GroupingKey(name, "words", words=tuple(sorted(set(constants))))
    if operators <= _NUMBER_OPERATORS and all(_is_number(constant) for constant in constants):
        exact = not operators <= _OPERATORS_WITHOUT_EQUALITY
        return GroupingKey(name, "numbers", numbers=tuple(sorted(set(constants))), exact=exact)
    return GroupingKey(name, "text")


def _is_word(value: Any) -> bool:
    """Whether a value is a string that cannot be mistaken for the JSON text of a number, true or false."""
    if not isinstance(value, str):
        return False
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
