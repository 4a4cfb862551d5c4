"""JSON that every library parses alike: no duplicate keys, no floats, bounded size and depth.

Libraries disagree on corner cases: Python keeps the last of two equal keys, others keep the first. If two readers
parse one signed document differently, an attacker can use the difference. So this module rejects those cases.
"""

import json
import re
from typing import Any

from sdk_contract.errors import Malformed, Oversize

MAX_DEPTH = 8
MAX_INTEGER = 2**53 - 1
"""Largest integer that every JSON library keeps exactly."""

# Possessive, and the closing quote is optional: else an unterminated string is scanned once per quote in it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes, *, limit: int) -> Any:
    """Parse `data`: at most `limit` bytes of UTF-8.

    Raises:
        Oversize: `data` is longer than `limit`.
        Malformed: `data` is not JSON, or has a duplicate key, a float, an integer beyond 2^53 - 1, an unpaired
            surrogate, or more than 8 levels.
    """
    if len(data) > limit:
        raise Oversize(f"{len(data)} bytes, at most {limit} are allowed")
    _check_depth(data)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        if _ESCAPED_SURROGATE.search(data):
            # Fails for an unpaired surrogate, which has no UTF-8 form; a pair is an ordinary character.
            dumps(value)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Malformed(f"not JSON: {error}") from error
    return value


def dumps(value: Any) -> bytes:
    """Serialize `value` in the one form that we write: sorted keys, no whitespace, UTF-8.

    Raises:
        Malformed: `value` holds NaN, an infinity or an unpaired surrogate.
    """
    try:
        return _ENCODER.encode(value).encode()
    except ValueError as error:
        raise Malformed(f"cannot be written as JSON: {error}"[:200]) from error


def _check_depth(data: bytes) -> None:
    """Count the brackets outside strings, before the parser can recurse."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH} levels")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("an object has the same key twice")
    return result


def _bounded_integer(text: str) -> int:
    if len(text) > 17:
        raise Malformed(f"the integer {text[:20]}[...] is too long")
    value = int(text)
    if abs(value) > MAX_INTEGER:
        raise Malformed(f"the integer {text} is beyond 2^53 - 1")
    return value


def _reject_float(text: str) -> Any:
    raise Malformed(f"{text} is not an integer; signed documents allow no other numbers")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_reject_duplicates,
    parse_float=_reject_float,
    parse_int=_bounded_integer,
    parse_constant=_reject_float,
)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
