"""Text that PostgreSQL can store: it rejects the character NUL, which JSON allows."""

from typing import Any

JSON_NUL = "\\u0000"
"""How JSON writes NUL; a text that contains this may contain NUL."""


def without_nul(value: Any) -> Any:
    """A JSON value without NUL characters.

    Works on the value rather than on its JSON text, in which an escaped backslash may stand before `u0000`.
    """
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {key: without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    return value
