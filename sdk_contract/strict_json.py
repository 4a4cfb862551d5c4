"""JSON as all SDKs must read it: no duplicate key, no float, bounded size and depth.

Libraries differ on the corners (Python keeps the last of two equal keys, others the first), and a
difference between two readers of one signed document is a hole. So the corners are refused.
"""

import json
import re
from typing import Any

from sdk_contract.errors import Malformed, Oversize

MAX_DEPTH = 8
MAX_INTEGER = 2**53 - 1
"""Largest integer that every JSON library keeps exactly."""

# Possessive, and content with a missing end: else a long string that never ends is read once per quote in it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes, *, limit: int) -> Any:
    """Parse `data`, at most `limit` bytes of UTF-8.

    Raises:
        Oversize: longer than `limit`.
        Malformed: not JSON, or JSON with a duplicate key, a float, an integer beyond 2^53 - 1,
            half a surrogate pair, or deeper than 8 levels.
    """
    if len(data) > limit:
        raise Oversize(f"{len(data)} bytes, at most {limit} are allowed")
    _check_depth(data)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        if _ESCAPED_SURROGATE.search(data):
            # A pair is a character; a half has no UTF-8, and every library reads it in its own way.
            dumps(value)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Malformed(str(error)) from error
    return value


def dumps(value: Any) -> bytes:
    """The one byte form in which we write: sorted keys, no blanks, UTF-8.

    Raises:
        Malformed: a number or a string in it has no such form (NaN, half a surrogate pair).
    """
    try:
        return _ENCODER.encode(value).encode()
    except ValueError as error:
        raise Malformed(str(error)[:200]) from error


def _check_depth(data: bytes) -> None:
    """Count brackets outside strings before the parser may recurse."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("an object has the same key twice")
    return result


def _bounded_integer(text: str) -> int:
    if len(text) > 17:
        raise Malformed(f"the integer {text[:20]}... is too long")
    value = int(text)
    if abs(value) > MAX_INTEGER:
        raise Malformed(f"the integer {text} is beyond 2^53 - 1")
    return value


def _refuse_number(text: str) -> Any:
    raise Malformed(f"{text} is a float; signed documents hold integers only")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_refuse_number,
    parse_int=_bounded_integer,
    parse_constant=_refuse_number,
)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
