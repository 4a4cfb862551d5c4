"""Webhooks: who is told what happens to rollouts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.dependencies import Config, JobBell, Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.webhooks import DeliveryView, WebhookBody, WebhookSecretView, WebhookView
from service.operations.platform import webhook_deliveries, webhooks
from service.tokens import Caller

router = APIRouter(
    prefix="/v1/admin/webhooks", tags=["webhooks"], responses=RESPONSES, route_class=IdempotentRoute
)

MANAGERS = ("release-manager", "admin")
WebhookName = Annotated[Name, Path(description="Name of the webhook.")]
DeliveryId = Annotated[int, Path(ge=0, lt=2**63, description="Number of the message.")]


@router.get("", summary="All webhooks")
def list_webhooks(session: ReadOnly, caller: Viewer) -> list[WebhookView]:
    """By name; whole addresses are shown to release managers only."""
    return [_shown(row, caller) for row in webhooks.list_all(session)]


@router.get("/{name}", summary="One webhook")
def get_webhook(name: WebhookName, session: ReadOnly, caller: Viewer) -> WebhookView:
    """Without its secret; its whole address is shown to release managers only."""
    return _shown(webhooks.require(session, name), caller)


@router.put("/{name}", summary="Make or change a webhook")
def put_webhook(
    name: WebhookName,
    body: WebhookBody,
    session: Transaction,
    caller: ReleaseManager,
    settings: Config,
    now: Now,
) -> WebhookSecretView:
    """A new one comes with its secret, this once. Putting it again switches it on again, if `active`."""
    declaration = webhooks.WebhookDeclaration(name, body.url, body.event_types, body.active)
    row, secret = webhooks.put(
        session, declaration, allow_private=settings.webhook_allow_private, actor=caller.name, now=now
    )
    return _with_secret(row, secret)


@router.delete("/{name}", status_code=204, summary="Remove a webhook")
def delete_webhook(name: WebhookName, session: Transaction, caller: ReleaseManager, now: Now) -> None:
    """With all that was still to be told to it."""
    webhooks.delete(session, name, actor=caller.name, now=now)


@router.post("/{name}/rotate", summary="Give a webhook a new secret")
def rotate_webhook(
    name: WebhookName, session: Transaction, caller: ReleaseManager, now: Now
) -> WebhookSecretView:
    """For a day, messages are signed with both."""
    row, secret = webhooks.rotate_secret(session, name, actor=caller.name, now=now)
    return _with_secret(row, secret)


@router.post("/{name}/test", status_code=202, summary="Try a webhook out")
def try_webhook(
    name: WebhookName, session: Transaction, notifier: JobBell, caller: ReleaseManager, now: Now
) -> DeliveryView:
    """Sends `webhook.test`; look for the message's number among the deliveries."""
    return _delivery(webhooks.send_test(session, notifier, name, actor=caller.name, now=now))


@router.get("/{name}/deliveries", summary="Messages to a webhook")
def list_deliveries(name: WebhookName, session: ReadOnly, _caller: Viewer) -> list[DeliveryView]:
    """The newest 100, newest first; kept for thirty days."""
    return [_delivery(row) for row in webhook_deliveries.list_newest(session, webhooks.require(session, name))]


@router.post("/{name}/deliveries/{delivery_id}/retry", status_code=202, summary="Send a message again")
def retry_delivery(
    name: WebhookName,
    delivery_id: DeliveryId,
    session: Transaction,
    notifier: JobBell,
    _caller: ReleaseManager,
    now: Now,
) -> DeliveryView:
    """One that was given up gets another day."""
    webhook = webhooks.require(session, name)
    return _delivery(webhook_deliveries.redeliver(session, notifier, webhook, delivery_id, now=now))


def _shown(row: Any, caller: Caller) -> WebhookView:
    return WebhookView.model_validate(webhooks.view(row, full_url=caller.scope in MANAGERS))


def _with_secret(row: Any, secret: str | None) -> WebhookSecretView:
    return WebhookSecretView.model_validate({**webhooks.view(row, full_url=True), "secret": secret})


def _delivery(row: Any) -> DeliveryView:
    fields = {name: getattr(row, name) for name in DeliveryView.model_fields if name != "state"}
    return DeliveryView.model_validate({**fields, "state": webhook_deliveries.delivery_state(row)})
