"""Deliver one message to one webhook."""

from typing import Any

from sqlalchemy.orm import Session

from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.infrastructure.webhook_sender import WebhookGone, WebhookNotDelivered, WebhookSender
from service.operations.platform import webhook_deliveries, webhooks
from workers.job_runner import InputRejected, Job

WEBHOOK_GONE = "webhook_gone"


def run(job: Job) -> None:
    """Send the message. The receiver recognizes a duplicate by the message id.

    Raises:
        WebhookNotDelivered: the delivery failed; the job is retried.
        InputRejected: the receiver answered that the endpoint is gone.
    """
    context, delivery_id = job.context, job.args["delivery_id"]
    with database.read_only(context.engine) as session:
        message = webhook_deliveries.next_message(session, delivery_id, now=utc_now())
    if message is None:
        with job.completion():
            return
    sender = WebhookSender(allow_private=context.settings.webhook_allow_private)
    try:
        sender.send(message.url, message.body, webhook_deliveries.signed_headers(message, now=utc_now()))
    except WebhookNotDelivered as error:
        with database.transaction(context.engine) as session:
            webhook_deliveries.record_failed_attempt(
                session, delivery_id, {"code": error.code, "detail": error.detail}
            )
        if isinstance(error, WebhookGone):
            raise InputRejected(WEBHOOK_GONE, error.detail) from error
        raise
    with job.completion() as session:
        webhook_deliveries.mark_delivered(session, delivery_id, now=utc_now())


def on_dead(session: Session, args: dict[str, Any], problem: dict[str, Any]) -> None:
    """Mark the delivery failed, with the reason; a user can send it again."""
    webhook_id = webhook_deliveries.mark_failed(session, args["delivery_id"], problem, now=utc_now())
    if webhook_id is not None and problem["code"] == WEBHOOK_GONE:
        webhooks.deactivate(session, webhook_id, str(problem.get("detail", "")))
