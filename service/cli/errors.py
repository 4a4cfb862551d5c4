"""Errors of the command line, and the one-line message that a user sees for each."""

import sys
from typing import Any

from sdk_contract.errors import as_clause
from service.errors import UserFacingError


class CliError(UserFacingError):
    """A command failed; the message is one line for the user.

    Attributes:
        code: the API's problem code; empty if the API did not send one.
    """

    def __init__(self, message: str, code: str = "") -> None:
        """Store the message and the code."""
        super().__init__(message)
        self.code = code


class NoResponse(CliError):
    """The server sent no response; the request may or may not have taken effect."""


def user_message(error: Exception) -> str | None:
    """The line to print for an error that the user can fix.

    Returns:
        None for a bug of ours: its traceback is worth more than a line.
    """
    if isinstance(error, UserFacingError):
        return str(error)
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    if isinstance(error, UnicodeError):
        return f"not UTF-8: {error.object!r:.200}" if hasattr(error, "object") else str(error)
    for module, name, message in _LIBRARY_ERRORS:
        # Look the library up instead of importing it: most commands do not load it, and it is slow to load.
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return message(error)
    return None


def _database_message(error: Any) -> str:
    return f"cannot reach the database (GRAYLAG_DATABASE_URL): {' '.join(str(error.orig).split())}"


def _settings_message(error: Any) -> str | None:
    """Name each invalid variable, but never print its value: it may be a secret."""
    if error.title != "Settings":
        return None
    details = error.errors(include_input=False, include_url=False)
    return "; ".join(
        f"GRAYLAG_{str(detail['loc'][0]).upper()}: {as_clause(detail['msg'])}" for detail in details
    )


_LIBRARY_ERRORS = (
    ("sqlalchemy.exc", "OperationalError", _database_message),
    ("pydantic", "ValidationError", _settings_message),
    ("pydantic_settings", "SettingsError", str),
    ("alembic.util", "CommandError", str),
)
