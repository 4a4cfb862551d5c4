"""Parses JSON objects into frozen dataclasses and validates every field by its annotation.

Uses only the standard library, so that a security review of the verification code needs no framework. Pydantic, which
makes the JSON Schemas and parses the API's bodies, reads the same annotations through `Constraint`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from sdk_contract.errors import Malformed

Parser = Callable[[Any], Any]
"""Turns a parsed JSON value into the value of a field, or raises `Malformed`."""


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """A condition on a field's value beyond its type; part of an annotation.

    Attributes:
        accepts: returns a true value for an allowed value; for others a false one, or raises `ValueError`.
        schema: the same condition in the words of Pydantic's core schemas.
    """

    accepts: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Parser) -> dict[str, Any]:
        """Pydantic's hook for annotations."""
        return {**handler(source), **self.schema}


def pattern(regex: str) -> Constraint:
    """A string that `regex` matches from its first to its last character."""
    return Constraint(re.compile(regex).fullmatch, {"pattern": regex})


def between(low: int, high: int) -> Constraint:
    """An integer from `low` to `high`, both included."""
    return Constraint(lambda value: low <= value <= high, {"ge": low, "le": high})


def length(low: int, high: int) -> Constraint:
    """A string or list of `low` to `high` characters or entries."""
    minimum = {"min_length": low} if low else {}
    return Constraint(lambda value: low <= len(value) <= high, {**minimum, "max_length": high})


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Base of dataclasses that validate their fields, also when code builds them directly."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Validate every field.

        Raises:
            Malformed: a field does not match its annotation.
        """
        kind: Any = type(self)
        values = vars(self)  # allows writing to a frozen instance
        for name, (parse, _) in _fields_of(kind).items():
            values[name] = _parse_at(name, parse, values[name])


def parse_object(kind: Any, value: Any) -> Any:
    """Build an instance of a `Validated` class from a parsed JSON object. An existing instance is returned as it is.

    Raises:
        Malformed: `value` is not an object, or a field is missing, unknown or invalid.
    """
    if isinstance(value, kind):
        return value
    known = _fields_of(kind)
    for name in _require_type(dict, value).keys() - known.keys():
        raise Malformed(f"{name[:64]}: unknown field")
    for name in known.keys() - value.keys():
        if known[name][1]:
            raise Malformed(f"{name}: missing")
    return kind(**value)


@cache
def _fields_of(kind: Any) -> dict[str, tuple[Parser, bool]]:
    """Field name -> its parser, and whether the field is required."""
    hints = get_type_hints(kind, include_extras=True)
    required = {entry.name for entry in fields(kind) if entry.default is entry.default_factory is MISSING}
    return {entry.name: (_parser_for(hints[entry.name]), entry.name in required) for entry in fields(kind)}


def _parser_for(kind: Any) -> Parser:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, constraints = _parser_for(arguments[0]), arguments[1:]
        return lambda value: _check_constraints(inner(value), constraints)
    if origin is Literal:
        return lambda value: _require(type(value) is str and value in arguments, value)
    if origin in {Union, UnionType}:
        inner = _parser_for(arguments[0])
        return lambda value: None if value is None else inner(value)
    if origin in {list, dict}:
        return partial(_parse_list if origin is list else _parse_map, *map(_parser_for, arguments))
    if isinstance(kind, type) and issubclass(kind, Validated):
        return partial(parse_object, kind)
    return partial(_require_type, kind)


def _require_type(kind: Any, value: Any) -> Any:
    # Not isinstance, because a bool is an instance of int.
    return _require(kind is Any or type(value) is kind, value)


def _parse_list(inner: Parser, value: Any) -> Any:
    return [_parse_at(str(index), inner, entry) for index, entry in enumerate(_require_type(list, value))]


def _parse_map(name: Parser, inner: Parser, value: Any) -> Any:
    members = _require_type(dict, value).items()
    return {_parse_at(str(key), name, key): _parse_at(str(key), inner, entry) for key, entry in members}


def _require(allowed: object, value: Any) -> Any:
    if not allowed:
        raise Malformed(f"{str(value)[:64]!r} is not allowed here")
    return value


def _check_constraints(value: Any, constraints: Sequence[Constraint]) -> Any:
    for constraint in constraints:
        _require(constraint.accepts(value), value)
    return value


def _parse_at(location: str, parse: Parser, value: Any) -> Any:
    """Parse `value`; put `location` in front of an error's message."""
    try:
        return parse(value)
    except Malformed as error:
        raise Malformed(f"{location[:64]}: {error.detail}") from error
    except ValueError as error:
        raise Malformed(f"{location[:64]}: {error}") from error
