"""Routes of models."""

from fastapi import APIRouter

from service.api.dependencies import Now, Publisher, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.releases.path_parameters import ModelName
from service.api.schemas.base import ModelBody, ModelView, ReasonBody
from service.operations.releases import models

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/models", summary="List the models")
def list_models(session: ReadOnly, _caller: Viewer) -> list[ModelView]:
    """Return all models, by name."""
    return [ModelView.model_validate(row) for row in models.list_all(session)]


@router.put("/models/{model}", summary="Create a model")
def put_model(
    model: ModelName, body: ModelBody, session: Transaction, caller: Publisher, now: Now
) -> ModelView:
    """Repeating the request changes nothing."""
    row = models.create(session, model, actor=caller.name, now=now, description=body.description)
    return ModelView.model_validate(row)


@router.post("/models/{model}/disable", summary="Disable a model")
def disable_model(
    model: ModelName, body: ReasonBody, session: Transaction, caller: ReleaseManager, now: Now
) -> ModelView:
    """The kill switch: within two seconds, every poll is answered with `pause`. Rollouts keep their state."""
    row = models.set_disabled(session, model, disabled=True, actor=caller.name, reason=body.reason, now=now)
    return ModelView.model_validate(row)


@router.post("/models/{model}/enable", summary="Enable a model")
def enable_model(
    model: ModelName, body: ReasonBody, session: Transaction, caller: ReleaseManager, now: Now
) -> ModelView:
    """Rollouts continue in their state."""
    row = models.set_disabled(session, model, disabled=False, actor=caller.name, reason=body.reason, now=now)
    return ModelView.model_validate(row)
