"""Routes of uploads."""

from uuid import UUID

from fastapi import APIRouter

from service.api.dependencies import Blobs, Config, Publisher, ReadOnly, Transaction
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.base import PartsBody, PartUrls, UploadBody, UploadView
from service.operations.releases import uploads

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES, route_class=IdempotentRoute)


@router.post("/uploads", summary="Start or resume an upload")
def start_upload(
    body: UploadBody, session: Transaction, blobs: Blobs, settings: Config, _caller: Publisher
) -> UploadView:
    """Return the parts that are missing; none if the file is stored already."""
    status = uploads.start(session, blobs, body.sha256, part_bytes=settings.upload_part_bytes)
    return UploadView.model_validate(status)


@router.post("/uploads/{upload_id}/parts", summary="Get the URLs of parts")
def create_part_urls(
    upload_id: UUID, body: PartsBody, session: ReadOnly, blobs: Blobs, settings: Config, _caller: Publisher
) -> PartUrls:
    """Return presigned URLs of the object store. Send each part with PUT, without further headers."""
    urls = uploads.presign_parts(
        session, blobs, upload_id, body.numbers, expires_s=settings.download_url_ttl_s
    )
    return PartUrls(urls=urls)


@router.post("/uploads/{upload_id}/complete", status_code=204, summary="Complete an upload")
def complete_upload(upload_id: UUID, session: Transaction, blobs: Blobs, _caller: Publisher) -> None:
    """Join the parts. A worker verifies the digest when the version is submitted."""
    uploads.complete(session, blobs, upload_id)
