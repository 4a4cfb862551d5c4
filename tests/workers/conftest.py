"""Workers run against the same live service as the API's tests."""

from tests.service.conftest import engine, founding, live, role_keys, settings

__all__ = ["engine", "founding", "live", "role_keys", "settings"]
