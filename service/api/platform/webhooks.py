"""Routes of webhooks and their deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.dependencies import Config, Notifier, Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.webhooks import DeliveryView, WebhookBody, WebhookSecretView, WebhookView
from service.infrastructure.tokens import Caller
from service.operations.platform import webhook_deliveries, webhooks

router = APIRouter(
    prefix="/v1/admin/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=IdempotentRoute
)

SCOPES_WITH_FULL_URL = ("release-manager", "admin")
"""URLs may contain tokens, so viewers and publishers see only the host."""
WebhookName = Annotated[Name, Path(description="Name of the webhook.")]
DeliveryId = Annotated[int, Path(ge=0, lt=2**63, description="Id of the delivery.")]


@router.get("", summary="List the webhooks")
def list_webhooks(session: ReadOnly, caller: Viewer) -> list[WebhookView]:
    """Return all webhooks, by name. Only release managers and admins see the full URLs."""
    return [_view(row, caller) for row in webhooks.list_all(session)]


@router.get("/{name}", summary="Get a webhook")
def get_webhook(name: WebhookName, session: ReadOnly, caller: Viewer) -> WebhookView:
    """Return a webhook without its secret. Only release managers and admins see the full URL."""
    return _view(webhooks.require(session, name), caller)


@router.put("/{name}", summary="Create or replace a webhook")
def put_webhook(
    name: WebhookName,
    body: WebhookBody,
    session: Transaction,
    caller: ReleaseManager,
    settings: Config,
    now: Now,
) -> WebhookSecretView:
    """Only the response that creates the webhook contains its secret. `active` reactivates a deactivated webhook."""
    declaration = webhooks.WebhookDeclaration(name, body.url, body.event_types, body.active)
    row, secret = webhooks.put(
        session, declaration, allow_private=settings.webhook_allow_private, actor=caller.name, now=now
    )
    return _view_with_secret(row, secret)


@router.delete("/{name}", status_code=204, summary="Delete a webhook")
def delete_webhook(name: WebhookName, session: Transaction, caller: ReleaseManager, now: Now) -> None:
    """Delete a webhook and its pending messages."""
    webhooks.delete(session, name, actor=caller.name, now=now)


@router.post("/{name}/rotate-secret", summary="Rotate the secret of a webhook")
def rotate_webhook_secret(
    name: WebhookName, session: Transaction, caller: ReleaseManager, now: Now
) -> WebhookSecretView:
    """Create a new secret. For a day, messages are signed with the old and the new one."""
    row, secret = webhooks.rotate_secret(session, name, actor=caller.name, now=now)
    return _view_with_secret(row, secret)


@router.post("/{name}/test", status_code=202, summary="Send a test message to a webhook")
def send_webhook_test(
    name: WebhookName, session: Transaction, notifier: Notifier, caller: ReleaseManager, now: Now
) -> DeliveryView:
    """Send the event `webhook.test`. The list of deliveries shows the result."""
    return _delivery_view(webhooks.send_test(session, notifier, name, actor=caller.name, now=now))


@router.get("/{name}/deliveries", summary="List the deliveries to a webhook")
def list_webhook_deliveries(name: WebhookName, session: ReadOnly, _caller: Viewer) -> list[DeliveryView]:
    """Return the newest 100 deliveries, newest first. They are deleted after thirty days."""
    return [
        _delivery_view(row)
        for row in webhook_deliveries.list_newest(session, webhooks.require(session, name))
    ]


@router.post("/{name}/deliveries/{delivery_id}/retry", status_code=202, summary="Send a failed message again")
def retry_webhook_delivery(
    name: WebhookName,
    delivery_id: DeliveryId,
    session: Transaction,
    notifier: Notifier,
    _caller: ReleaseManager,
    now: Now,
) -> DeliveryView:
    """Queue a failed message again; it is retried for another day."""
    webhook = webhooks.require(session, name)
    return _delivery_view(webhook_deliveries.redeliver(session, notifier, webhook, delivery_id, now=now))


def _view(row: Any, caller: Caller) -> WebhookView:
    return WebhookView.model_validate(webhooks.view(row, full_url=caller.scope in SCOPES_WITH_FULL_URL))


def _view_with_secret(row: Any, secret: str | None) -> WebhookSecretView:
    return WebhookSecretView.model_validate({**webhooks.view(row, full_url=True), "secret": secret})


def _delivery_view(row: Any) -> DeliveryView:
    fields = {name: getattr(row, name) for name in DeliveryView.model_fields if name != "state"}
    return DeliveryView.model_validate({**fields, "state": webhook_deliveries.delivery_state(row)})
