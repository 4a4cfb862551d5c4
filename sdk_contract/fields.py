"""From parsed JSON to a frozen dataclass: each field is read by its annotation, and nothing else is let in.

Only the standard library, so that whoever reviews what stands between a server and a disk has this page to
read and no framework. Pydantic, which makes the JSON schemas and the bodies of the API, understands the same
annotations through `Rule`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from sdk_contract.errors import Malformed

Read = Callable[[Any], Any]
"""Turns a parsed JSON value into what a field holds, or raises `Malformed`."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What a field's value has to be beyond its type: part of an annotation.

    Attributes:
        holds: returns something false, or raises `ValueError`, for another value.
        schema: the same in the words of Pydantic's core schemas.
    """

    holds: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Read) -> dict[str, Any]:
        """How Pydantic asks."""
        return {**handler(source), **self.schema}


def text(pattern: str) -> Rule:
    """A string that a regular expression describes from its first to its last character."""
    return Rule(re.compile(pattern).fullmatch, {"pattern": pattern})


def number(low: int, limit: int) -> Rule:
    """An integer from `low` to below `limit`."""
    return Rule(lambda value: low <= value < limit, {"ge": low, "lt": limit})


def within(low: int, high: int) -> Rule:
    """An integer from `low` to `high`."""
    return Rule(lambda value: low <= value <= high, {"ge": low, "le": high})


def length(low: int, high: int) -> Rule:
    """A string or list of `low` to `high` characters or entries."""
    least = {"min_length": low} if low else {}
    return Rule(lambda value: low <= len(value) <= high, {**least, "max_length": high})


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Base of what is made of fields: however an instance comes to be, its fields are what they say."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Read every field.

        Raises:
            Malformed: one is not as its annotation says.
        """
        kind: Any = type(self)
        held = vars(self)  # what is frozen can still be set there
        for name, (read, _) in _entries(kind).items():
            held[name] = _at(name, read, held[name])


def read_object(kind: Any, value: Any) -> Any:
    """An instance of a `Checked` class from a parsed JSON object, or the instance that it is already.

    Raises:
        Malformed: no object, a field missing, unknown, or not as its annotation says.
    """
    if isinstance(value, kind):
        return value
    known = _entries(kind)
    for name in _exactly(dict, value).keys() - known.keys():
        raise Malformed(f"{name[:64]}: unknown")
    for name in known.keys() - value.keys():
        if known[name][1]:
            raise Malformed(f"{name}: missing")
    return kind(**value)


@cache
def _entries(kind: Any) -> dict[str, tuple[Read, bool]]:
    """Name -> what reads the field, and whether it has to be there."""
    hints = get_type_hints(kind, include_extras=True)
    bare = {entry.name for entry in fields(kind) if entry.default is entry.default_factory is MISSING}
    return {entry.name: (_reader(hints[entry.name]), entry.name in bare) for entry in fields(kind)}


def _reader(kind: Any) -> Read:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, rules = _reader(arguments[0]), arguments[1:]
        return lambda value: _ruled(inner(value), rules)
    if origin is Literal:
        return lambda value: _must(type(value) is str and value in arguments, value)
    if origin in {Union, UnionType}:
        inner = _reader(arguments[0])
        return lambda value: None if value is None else inner(value)
    if origin in {list, dict}:
        return partial(_list if origin is list else _map, *map(_reader, arguments))
    if isinstance(kind, type) and issubclass(kind, Checked):
        return partial(read_object, kind)
    return partial(_exactly, kind)


def _exactly(kind: Any, value: Any) -> Any:
    # Not isinstance: true is no integer.
    return _must(kind is Any or type(value) is kind, value)


def _list(inner: Read, value: Any) -> Any:
    return [_at(str(at), inner, entry) for at, entry in enumerate(_exactly(list, value))]


def _map(name: Read, inner: Read, value: Any) -> Any:
    members = _exactly(dict, value).items()
    return {_at(str(key), name, key): _at(str(key), inner, entry) for key, entry in members}


def _must(allowed: object, value: Any) -> Any:
    if not allowed:
        raise Malformed(f"{str(value)[:64]!r} is not allowed here")
    return value


def _ruled(value: Any, rules: Sequence[Rule]) -> Any:
    for rule in rules:
        _must(rule.holds(value), value)
    return value


def _at(where: str, read: Read, value: Any) -> Any:
    """Read; a fault says where it is."""
    try:
        return read(value)
    except Malformed as fault:
        raise Malformed(f"{where[:64]}: {fault.detail}") from fault
    except ValueError as error:
        raise Malformed(f"{where[:64]}: {error}") from error
