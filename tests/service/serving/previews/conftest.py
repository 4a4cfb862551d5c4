"""A model with two versions, for previews."""

import pytest

from tests.service.serving.previews.preview_requests import NEW, OLD
from tests.service.support.actors import cohort, publish, set_up_once


@pytest.fixture
@set_up_once
def released(live):
    """v1, v2, and a patch between them."""
    publish(live, "v1", OLD)
    publish(live, "v2", NEW)
    cohort(live)
