"""Fixtures of the device API's tests; a module that needs other weights has a `v1` of its own."""

import pytest

from tests.service.api.device.weights import OLD
from tests.service.support.actors import enroll, publish, set_up_once


@pytest.fixture
@set_up_once
def v1(live):
    """A service with one published version."""
    publish(live, "v1", OLD)


@pytest.fixture
def device(live):
    return enroll(live)
