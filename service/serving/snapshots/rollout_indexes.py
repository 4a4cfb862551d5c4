"""The rollout indexes of a snapshot's models, with a memory of what they found for earlier polls."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.domain.catalog import Rollout, Version
from service.domain.polling.rollout_index import EligibleRollouts, RolloutIndex
from service.domain.targeting.rules import Attributes

MAX_REMEMBERED = 500
"""Combinations of attributes, and sets of cohorts, that are remembered per running version."""
MAX_REMEMBERED_TEXT = 256
"""Characters of a combination that is remembered: the values come from devices."""
_MISSING, _TRUE, _FALSE = object(), object(), object()
"""No value, and the two values that `==` takes for 1 and 0."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class RememberedIndexes:
    """The indexes of one model, built when the first device with a running version polls."""

    def __init__(self, rollouts: tuple[Rollout, ...]) -> None:
        """Start without indexes; `rollouts` are those of the model, in the order in which they are evaluated."""
        self._rollouts = rollouts
        self._indexes: dict[int | None, RolloutIndex] = {}

    def index_for(self, current: Version | None) -> RolloutIndex:
        """Return the index for devices that run `current`; None for an unknown version or none."""
        counter = current.counter if current is not None else None
        index = self._indexes.get(counter)
        if index is None:
            index = self._indexes[counter] = RememberingIndex.build(self._rollouts, current)
        return index


@dataclass(frozen=True, slots=True)
class RememberingIndex(RolloutIndex):
    """An index that remembers the cohorts of attribute combinations, and the rollouts of sets of cohorts.

    A fleet of millions has few combinations of the attributes that rules name.
    """

    _cohorts: dict[tuple[Any, ...], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    _eligible: dict[tuple[int, ...], EligibleRollouts] = field(
        default_factory=dict, compare=False, repr=False
    )

    def cohorts_by_attributes(self, device_id: str, attributes: Attributes) -> tuple[int, ...]:
        """Return those of `attribute_cohorts` that the device is in."""
        values = [attributes.get(name, _MISSING) for name in self.attribute_names]
        key = tuple(
            [(_TRUE if value else _FALSE) if value is True or value is False else value for value in values]
        )
        try:
            found = self._cohorts.get(key)
        except TypeError:  # a list or an object in a token, which no rule compares, cannot be a key
            return RolloutIndex.cohorts_by_attributes(self, device_id, attributes)
        if found is None:
            found = RolloutIndex.cohorts_by_attributes(self, device_id, attributes)
            if sum(len(value) for value in values if isinstance(value, str)) <= MAX_REMEMBERED_TEXT:
                _remember(self._cohorts, key, found)
        return found

    def eligible(self, cohorts: tuple[int, ...]) -> EligibleRollouts:
        """Return the rollouts that a set of cohorts, by place in `cohorts`, leads to."""
        found = self._eligible.get(cohorts)
        if found is None:
            found = RolloutIndex.eligible(self, cohorts)
            _remember(self._eligible, cohorts, found)
        return found


def _remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    """Keep a value; forget the others when there are too many, since frequent ones return soon."""
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = value
