"""Faults that a person can mend, each as one line: the input, this machine, the database, the settings."""

import sys
from typing import Any

from service.errors import Refusal


def explained(error: Exception) -> str | None:
    """What to tell whoever typed the command; None for a fault of ours, whose trace we want to see."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    if isinstance(error, UnicodeError):
        return f"not UTF-8: {error.object!r:.200}" if hasattr(error, "object") else str(error)
    for module, name, line in _LIBRARIES:
        # A library that raised this is loaded; most commands need none of them, and need not wait for it.
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return line(error)
    return None


def _database(error: Any) -> str:
    return f"the database does not answer: {' '.join(str(error.orig).split())}"


def _settings(error: Any) -> str | None:
    """Each variable and what is wrong with it; never what it holds, which may be a secret."""
    if error.title != "Settings":
        return None
    faults = error.errors(include_input=False, include_url=False)
    return "; ".join(f"GRAYLAG_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in faults)


_LIBRARIES = (
    ("sqlalchemy.exc", "OperationalError", _database),
    ("pydantic", "ValidationError", _settings),
    ("pydantic_settings", "SettingsError", str),
    ("alembic.util", "CommandError", str),
)
