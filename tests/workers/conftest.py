"""Workers run against the same live service as the API's tests."""

from tests.service.conftest import engine, live, settings

__all__ = ["engine", "live", "settings"]
