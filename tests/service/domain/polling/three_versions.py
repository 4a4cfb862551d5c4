"""A model with three versions, and the decision about a poll for it."""

from service.domain.polling.offers import decide
from tests.service.domain.builders import DECISION_TIME, device_context, model_view, version

V1, V2, V3 = version(1), version(2), version(3)


def decision_for(model, device=None):
    return decide(model, device or device_context(), DECISION_TIME)


def model_with(*rollouts, versions=(V1, V2, V3), **more):
    return model_view(versions, rollouts, **more)
