"""What a device says, in a form that PostgreSQL can hold."""

from typing import Any

NUL = "\\u0000"
"""How JSON spells the one character that PostgreSQL cannot hold (or what looks like it)."""


def storable(value: Any) -> Any:
    """A JSON value without NUL, which text and jsonb do not know; all else stays.

    In the value and not in its JSON text, where a backslash before `u0000` may itself be escaped.
    """
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
