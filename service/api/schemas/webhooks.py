"""Request and response bodies of webhooks."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from service.api.schemas.base import Body, View

EventType = Annotated[str, Field(max_length=64)]


class WebhookBody(Body):
    """A receiver of rollout events.

    Attributes:
        event_types: the event types to send, for example `rollout.halt`; empty for all.
    """

    url: str = Field(min_length=1, max_length=2000)
    event_types: list[EventType] = Field(default_factory=list, max_length=64)
    active: bool = True


class WebhookView(View):
    """A webhook.

    Attributes:
        problem: why the server has deactivated it; empty if it has not.
    """

    name: str
    url: str
    event_types: list[str]
    active: bool
    problem: str
    created_at: datetime


class WebhookSecretView(WebhookView):
    """A webhook; `secret` signs its messages and is null unless this request created it."""

    secret: str | None = None


class DeliveryView(View):
    """A message to a webhook.

    Attributes:
        message_id: id of the message, the same for every attempt to send it.
        problem: code and detail of the last failed attempt.
    """

    id: int
    message_id: str
    event_type: str
    event: dict[str, Any]
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    problem: dict[str, Any] | None
    created_at: datetime
    delivered_at: datetime | None
    failed_at: datetime | None
