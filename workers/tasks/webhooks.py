"""Tell one webhook one thing."""

from typing import Any

from sqlalchemy.orm import Session

from service import database
from service.operations import webhooks
from service.outgoing import Gone, NotDelivered, Post
from service.tokens import utc_now
from workers.context import Job, Rejected

GONE = "webhook_gone"


def run(job: Job) -> None:
    """Send the message; whoever gets it twice knows it by its id.

    Raises:
        NotDelivered: it did not arrive; the job is tried again.
        Rejected: the other side wants no more.
    """
    context, delivery_id = job.context, job.args["delivery_id"]
    with database.read_only(context.engine) as session:
        message = webhooks.next_message(session, delivery_id, now=utc_now())
    if message is None:
        with job.closing():
            return
    post = Post(allow_private=context.settings.webhook_private)
    try:
        post.send(message.url, message.body, webhooks.headers_of(message, now=utc_now()))
    except NotDelivered as error:
        with database.transaction(context.engine) as session:
            webhooks.failed(session, delivery_id, {"code": error.code, "detail": error.detail})
        if isinstance(error, Gone):
            raise Rejected(GONE, error.detail) from error
        raise
    with job.closing() as session:
        webhooks.arrived(session, delivery_id, now=utc_now())


def bury(session: Session, args: dict[str, Any], problem: dict[str, Any]) -> None:
    """The message is given up and says why; it can be sent again by hand."""
    gone = problem["code"] == GONE
    webhooks.give_up(session, args["delivery_id"], problem, gone=gone, now=utc_now())
