from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from service.infrastructure import database
from service.infrastructure.blobs import UploadedPart
from service.operations.releases import uploads
from tests.service.support import actors
from tests.service.support.actors import component, declare, ok, version_body

DATA = b"weights of the uploads"


def test_completing_an_upload_twice_at_once_completes_it_once(live):
    ok(declare(live, version_body("v1", component(DATA))))
    upload = actors.start_upload(live, DATA)
    actors.send_parts(live, upload, DATA, [1])
    blobs, key = actors.process(live).blobs, UUID(upload["upload_id"])

    def complete():
        with database.transaction(live.engine) as session:
            uploads.complete(session, blobs, key)

    with ThreadPoolExecutor(1) as pool:
        with database.transaction(live.engine) as first:
            uploads.complete(first, blobs, key)
            second = pool.submit(complete)
            assert not second.done()
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        second.result(timeout=30)


@pytest.mark.parametrize(
    ("size", "part_bytes", "lengths"),
    [(1, 5, [1]), (5, 5, [5]), (6, 5, [5, 1]), (15, 5, [5, 5, 5])],
)
def test_the_parts_of_an_upload_cover_the_file_exactly(size, part_bytes, lengths):
    assert list(uploads.part_sizes(size, part_bytes).values()) == lengths


@pytest.mark.parametrize(
    ("uploaded", "missing"),
    [
        ([], [1, 2, 3]),
        ([(1, 5), (3, 2)], [2]),
        ([(1, 4), (2, 5), (3, 5)], [1, 3]),
        ([(1, 5), (2, 5), (3, 2), (4, 5)], []),
    ],
)
def test_absent_parts_and_parts_of_the_wrong_size_are_missing(uploaded, missing):
    parts = [UploadedPart(number, size, f"etag-{number}") for number, size in uploaded]
    assert uploads.missing_parts(12, 5, parts) == missing


def test_a_file_with_too_many_parts_gets_larger_parts(live):
    size = uploads.MAX_PARTS * live.settings.upload_part_bytes + 1
    ok(declare(live, version_body("v1", component(DATA, size=size))))
    upload = actors.start_upload(live, DATA)
    assert upload["part_count"] <= uploads.MAX_PARTS
    assert upload["part_bytes"] > live.settings.upload_part_bytes
