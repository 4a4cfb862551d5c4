"""Bodies of the admin API about webhooks."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from service.api.schemas.base import Body, View

EventType = Annotated[str, Field(max_length=64)]


class WebhookBody(Body):
    """Where to tell what happens to rollouts.

    Attributes:
        event_types: what to hear of, for example `rollout.halt`; empty for everything.
    """

    url: str = Field(min_length=1, max_length=2000)
    event_types: list[EventType] = Field(default_factory=list, max_length=64)
    active: bool = True


class WebhookView(View):
    """A webhook.

    Attributes:
        problem: why it was switched off, if the other side asked for it.
    """

    name: str
    url: str
    event_types: list[str]
    active: bool
    problem: str
    created_at: datetime


class WebhookSecretView(WebhookView):
    """A webhook with the secret that signs its messages; it is shown this once, and only when it is new."""

    secret: str | None = None


class DeliveryView(View):
    """One message to a webhook.

    Attributes:
        message_id: the same however often it is sent.
        problem: what came of the last attempt, if it failed.
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
