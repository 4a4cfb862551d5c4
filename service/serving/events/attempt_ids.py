"""Attempt ids in events: devices may send any text, so an invalid id counts as none."""

from uuid import UUID


def parse_attempt_id(text: str | None) -> UUID | None:
    """The id as a UUID; None if it is missing or not a UUID."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
