"""What differs between two values of JSON, place by place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two values differ; None for what is not there.

    Attributes:
        path: keys and positions with dots between, for example `stages.1.percent`.
    """

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "") -> list[Difference]:
    """Every place at which two values differ, as deep as can be said; in order of their paths' parts."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted(before.keys() | after.keys())
        pairs = [(key, before.get(key), after.get(key)) for key in keys]
    elif _is_list(before) and _is_list(after):
        longest = max(len(before), len(after))
        pairs = [(str(at), _item(before, at), _item(after, at)) for at in range(longest)]
    else:
        return [] if _same(before, after) else [Difference(path, before, after)]
    return [
        found
        for key, one, other in pairs
        for found in differences(one, other, f"{path}.{key}" if path else str(key))
    ]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _item(values: Sequence[Any], at: int) -> Any:
    return values[at] if at < len(values) else None


def _same(one: Any, other: Any) -> bool:
    """Equal, and of one kind: `true` is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
