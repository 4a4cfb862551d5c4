"""Counting a fleet in groups of devices that no decision can tell apart.

A decision looks at few things of a device: some attributes, and of those often only on which side of a number they
lie; the lists that it is on; between which two percentages its bucket lies. Devices that agree in all of this get the same
answer, so that a million of them are decided on by deciding once for each group, with the same functions as a poll.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.domain.cohorts import BUCKETS

Kind = Literal["words", "numbers", "text"]
ABSENT = -2
"""Code of an attribute that the device does not have."""
NEITHER = -1
"""Code of a value that is no number, where only numbers are asked for; of a word that no rule names."""

_WORDS = frozenset({"eq", "ne", "in", "exists"})
_FROM_ABOVE = frozenset({"gte", "lt", "exists"})
_NUMBERS = _WORDS | {"gte", "lte", "gt", "lt"}


@dataclass(frozen=True, slots=True)
class Key:
    """How much of an attribute is looked at.

    Attributes:
        kind: `words`: whether it is one of `words`; `numbers`: where it lies among `numbers`; `text`: all of it.
        numbers: ascending.
        exact: whether a rule tells a value that equals one of `numbers` from those just above it.
    """

    name: str
    kind: Kind
    words: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    exact: bool = True

    def value(self, code: Any) -> Any:
        """A value that every rule answers as it answers those with this code; see `Key.code` for the codes."""
        if self.kind == "text":
            return json.loads(code)
        if code == NEITHER:
            return max(self.words, default="") + "~"
        return self.words[code] if self.kind == "words" else self._number(code)

    def code(self, value: Any) -> int | str:
        """What the database makes of a value: the place among the words, or 2 i for above `numbers[i - 1]`, less 1 if equal."""
        if self.kind == "text":
            return json.dumps(value)
        if self.kind == "words":
            return self.words.index(value) if value in self.words else NEITHER
        if not isinstance(value, int | float) or isinstance(value, bool):
            return NEITHER
        below = [number for number in self.numbers if number <= value]
        return 2 * len(below) - (self.exact and value in below)

    def _number(self, code: int) -> float:
        place = (code + 1) // 2
        if code % 2:
            return self.numbers[place - 1]
        if place == 0:
            return self.numbers[0] - 1
        if place == len(self.numbers):
            return self.numbers[-1] + 1
        return self.numbers[place - 1] + (self.numbers[place] - self.numbers[place - 1]) / 2


@dataclass(frozen=True, slots=True)
class Lens:
    """Everything that a set of decisions looks at.

    Attributes:
        lists: cohorts whose explicit list counts.
        cuts: salt -> numbers of buckets at which an answer may change, ascending, without 0 and all.
    """

    keys: tuple[Key, ...] = ()
    lists: tuple[str, ...] = ()
    cuts: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def attributes(self, codes: Sequence[Any]) -> dict[str, Any]:
        """Attributes that stand for all devices with these codes, one code for each key."""
        pairs = zip(self.keys, codes, strict=True)
        return {key.name: key.value(code) for key, code in pairs if code != ABSENT}


def lens(
    rules: Iterable[Any],
    cohorts: Mapping[str, Any],
    *,
    listed: Iterable[str] = (),
    percents: Mapping[str, Iterable[float]] | None = None,
    whole: Iterable[str] = (),
) -> Lens:
    """What has to be known of a device to answer for all of these.

    Args:
        rules: JSON rules that are asked.
        cohorts: name -> rule, None for a list alone; for `{"cohort": name}`, at any depth.
        listed: cohorts that have an explicit list.
        percents: salt -> percentages asked with it.
        whole: attributes that something else than a rule looks at.
    """
    leaves: dict[str, list[tuple[str, Any]]] = {name: [("whole", None)] for name in whole}
    named: set[str] = set()
    for rule in rules:
        for name, operator, value in _leaves(rule, cohorts, named):
            leaves.setdefault(name, []).append((operator, value))
    return Lens(
        keys=tuple(_key(name, leaves[name]) for name in sorted(leaves)),
        lists=tuple(sorted(named & set(listed))),
        cuts=tuple((salt, found) for salt, shares in (percents or {}).items() if (found := _cuts(shares))),
    )


def reach(percent: float) -> int:
    """How many buckets a percentage takes in; the same rounding as `cohorts.admits`."""
    return math.ceil(round(percent * 100, 6))


def _cuts(percents: Iterable[float]) -> tuple[int, ...]:
    return tuple(sorted({cut for percent in percents if 0 < (cut := reach(percent)) < BUCKETS}))


def _leaves(rule: Any, cohorts: Mapping[str, Any], named: set[str]) -> Iterator[tuple[str, str, Any]]:
    if isinstance(rule, list):
        for child in rule:
            yield from _leaves(child, cohorts, named)
    elif isinstance(rule, dict) and "attr" in rule:
        yield from ((rule["attr"], operator, value) for operator, value in rule.items() if operator != "attr")
    elif isinstance(rule, dict) and "cohort" in rule:
        if rule["cohort"] not in named:
            named.add(rule["cohort"])
            yield from _leaves(cohorts.get(rule["cohort"]), cohorts, named)
    elif isinstance(rule, dict):
        yield from _leaves(list(rule.values()), cohorts, named)


def _key(name: str, asked: Sequence[tuple[str, Any]]) -> Key:
    operators = {operator for operator, _ in asked}
    constants = [
        constant
        for operator, value in asked
        if operator != "exists"
        for constant in (value if isinstance(value, list) else [value])
    ]
    if operators <= _WORDS and all(_is_plain(constant) for constant in constants):
        return Key(name, "words", words=tuple(sorted(set(constants))))
    if operators <= _NUMBERS and all(_is_number(constant) for constant in constants):
        exact = not operators <= _FROM_ABOVE
        return Key(name, "numbers", numbers=tuple(sorted(set(constants))), exact=exact)
    return Key(name, "text")


def _is_plain(value: Any) -> bool:
    """A string that cannot be taken for the text of a number, of true or of false."""
    if not isinstance(value, str):
        return False
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
