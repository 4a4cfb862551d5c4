"""The differences between two JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """A path at which two values differ; None for a missing value.

    Attributes:
        path: keys and indexes joined by dots, for example `stages.1.percent`.
        before: the old value.
        after: the new value.
    """

    path: str
    before: Any
    after: Any


def json_diff(before: Any, after: Any, path: str = "") -> list[Difference]:
    """Return the deepest paths at which two values differ, in the order of their parts."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted(before.keys() | after.keys())
        children = [(key, before.get(key), after.get(key)) for key in keys]
    elif _is_list(before) and _is_list(after):
        length = max(len(before), len(after))
        children = [(str(index), _item(before, index), _item(after, index)) for index in range(length)]
    else:
        return [] if _same(before, after) else [Difference(path, before, after)]
    return [
        difference
        for key, old, new in children
        for difference in json_diff(old, new, f"{path}.{key}" if path else str(key))
    ]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _item(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else None


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one kind: `true` is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
