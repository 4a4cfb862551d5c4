"""Workers run against the same live service as the API's tests."""

from tests.service.conftest import engine, initial_state, live, role_keys, settings

__all__ = ["engine", "initial_state", "live", "role_keys", "settings"]
