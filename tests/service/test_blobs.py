import io
import secrets
import time
from urllib.parse import urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from service.blobs import BlobReader, Part, S3BlobStore, StoreError
from service.errors import NotFound

MIB = 2**20


@pytest.fixture
def blobs(settings):
    return S3BlobStore(settings)


@pytest.fixture
def key():
    return f"tests/{secrets.token_hex(8)}"


@pytest.fixture
def web():
    with httpx2.Client(trust_env=False) as client:
        yield client


def test_an_object_comes_back_as_it_was_put(blobs, key, tmp_path):
    data = secrets.token_bytes(3 * MIB + 1)
    blobs.put(key, data)
    assert blobs.size(key) == len(data)
    chunks = list(blobs.stream(key))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= MIB
    assert blobs.read(key, 5, 10) == data[5:15]
    assert blobs.read(key, 5, 0) == b""
    (tmp_path / "file").write_bytes(data)
    blobs.put_file(key, tmp_path / "file")
    blobs.put(f"{key}2", io.BytesIO(data))
    blobs.copy(key, f"{key}3")
    assert blobs.size(f"{key}2") == blobs.size(f"{key}3") == len(data)


@pytest.mark.parametrize("size", [0, 5, 20 * MIB + 1])
def test_an_object_may_come_in_chunks_of_any_length(blobs, key, size):
    data = secrets.token_bytes(size)
    blobs.put_chunks(key, (data[at : at + 3 * MIB // 2] for at in range(0, size, 3 * MIB // 2)))
    assert b"".join(blobs.stream(key)) == data


@pytest.mark.parametrize("size", [5, 20 * MIB])
def test_chunks_that_break_off_leave_nothing_behind(blobs, key, size):
    def chunks():
        yield bytes(size)
        raise EOFError("cut")

    with pytest.raises(EOFError):
        blobs.put_chunks(key, chunks())
    assert blobs.size(key) is None


def test_an_object_that_is_not_there_is_named_and_removing_it_is_no_fault(blobs, key):
    assert blobs.size(key) is None
    blobs.delete(key)
    with pytest.raises(NotFound):
        blobs.read(key, 0, 1)
    with pytest.raises(NotFound):
        list(blobs.stream(key))


def test_parts_arrive_in_any_order_and_are_joined(blobs, key, web):
    data = secrets.token_bytes(5 * MIB + 3)
    upload = blobs.start_upload(key)
    for number, piece in ((2, data[5 * MIB :]), (1, data[: 5 * MIB])):
        url = blobs.upload_url(key, upload, number, expires_s=60)
        assert web.put(url, content=piece).is_success
    parts = blobs.parts(key, upload)
    assert [(part.number, part.size) for part in parts] == [(1, 5 * MIB), (2, 3)]
    assert blobs.size(key) is None
    blobs.finish_upload(key, upload, parts)
    assert b"".join(blobs.stream(key)) == data
    assert blobs.parts(key, upload) == []


def test_an_upload_that_was_given_up_takes_no_more_parts(blobs, key, web):
    upload = blobs.start_upload(key)
    url = blobs.upload_url(key, upload, 1, expires_s=60)
    blobs.abort_upload(key, upload)
    blobs.abort_upload(key, upload)
    assert not web.put(url, content=b"x").is_success
    assert blobs.parts(key, upload) == []
    with pytest.raises(StoreError):
        blobs.finish_upload(key, upload, [Part(1, 1, '"x"')])


def test_a_download_url_takes_ranges_and_ends(blobs, key, web):
    blobs.put(key, b"0123456789")
    url = blobs.download_url(key, expires_s=60)
    answer = web.get(url, headers={"Range": "bytes=3-5"})
    assert (answer.status_code, answer.content) == (206, b"345")
    short = blobs.download_url(key, expires_s=1)
    time.sleep(2.1)
    assert web.get(short).status_code == 403
    assert web.get(url.partition("?")[0]).status_code == 403
    assert web.get(url.replace(key, f"{key}x")).status_code == 403


def test_urls_name_the_host_that_the_outside_world_sees(settings):
    public = settings.model_copy(update={"s3_public_endpoint": "https://models.example.org"})
    store = S3BlobStore(public)
    assert urlsplit(store.download_url("blobs/x", expires_s=60)).netloc == "models.example.org"
    assert urlsplit(store.upload_url("uploads/x", "1", 1, expires_s=60)).netloc == "models.example.org"


def test_a_reader_gives_exactly_what_it_is_asked_for(blobs, key):
    blobs.put(key, b"0123456789")
    reader = BlobReader(blobs, key, 10)
    assert (reader.read(0, 10), reader.read(10, 0), reader.read(4, 2)) == (b"0123456789", b"", b"45")
    for offset, length in ((0, 11), (10, 1), (-1, 2), (2**63, 1)):
        with pytest.raises(EOFError):
            reader.read(offset, length)
    with pytest.raises(EOFError):
        BlobReader(blobs, key, 20).read(5, 15)


def test_a_store_that_is_away_or_refuses_is_told_by_our_name(settings):
    away = S3BlobStore(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with pytest.raises(StoreError) as caught:
        away.size("blobs/x")
    assert caught.value.retry_after_s
    stranger = S3BlobStore(settings.model_copy(update={"s3_secret_key": SecretStr("guess")}))
    with pytest.raises(StoreError):
        stranger.put("blobs/x", b"x")


def test_making_the_bucket_twice_is_no_fault(blobs):
    blobs.ensure_bucket()
    blobs.ensure_bucket()
