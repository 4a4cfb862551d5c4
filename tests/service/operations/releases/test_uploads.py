from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from service import database
from service.operations.releases import uploads
from tests.service.support import actors
from tests.service.support.actors import component, declare, ok, version_body

DATA = b"weights of the uploads"


def test_the_second_of_two_who_complete_an_upload_waits_for_the_first_and_finds_it_done(live):
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
def test_parts_cover_the_file_exactly(size, part_bytes, lengths):
    assert list(uploads.expected_parts(size, part_bytes).values()) == lengths


def test_a_file_beyond_ten_thousand_parts_gets_larger_ones(live):
    size = uploads.MAX_PARTS * live.settings.upload_part_bytes + 1
    ok(declare(live, version_body("v1", component(DATA, size=size))))
    upload = actors.start_upload(live, DATA)
    assert upload["part_count"] <= uploads.MAX_PARTS
    assert upload["part_bytes"] > live.settings.upload_part_bytes
