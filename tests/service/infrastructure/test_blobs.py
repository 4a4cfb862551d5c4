"""The S3 blob store."""

import io
import secrets
from urllib.parse import urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from service.errors import NotFound
from service.infrastructure.blobs import BlobReader, BlobStoreError, S3BlobStore, UploadedPart
from tests.waiting import wait_until

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


def test_an_object_is_read_as_it_was_stored(blobs, key, tmp_path):
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
def test_an_object_may_be_stored_in_chunks_of_any_length(blobs, key, size):
    data = secrets.token_bytes(size)
    blobs.put_chunks(key, (data[at : at + 3 * MIB // 2] for at in range(0, size, 3 * MIB // 2)))
    assert b"".join(blobs.stream(key)) == data


@pytest.mark.parametrize("size", [5, 20 * MIB])
def test_an_interrupted_stream_leaves_no_object(blobs, key, size):
    def chunks():
        yield bytes(size)
        raise EOFError("interrupted")

    with pytest.raises(EOFError):
        blobs.put_chunks(key, chunks())
    assert blobs.size(key) is None


def test_reading_a_missing_object_names_it_and_deleting_it_succeeds(blobs, key):
    assert blobs.size(key) is None
    blobs.delete(key)
    with pytest.raises(NotFound, match="not_found: there is no object tests/"):
        blobs.read(key, 0, 1)
    with pytest.raises(NotFound, match="not_found: there is no object tests/"):
        list(blobs.stream(key))


def test_parts_are_joined_in_order_however_they_arrive(blobs, key, web):
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


def test_an_aborted_upload_accepts_no_more_parts(blobs, key, web):
    upload = blobs.start_upload(key)
    url = blobs.upload_url(key, upload, 1, expires_s=60)
    blobs.abort_upload(key, upload)
    blobs.abort_upload(key, upload)
    assert not web.put(url, content=b"x").is_success
    assert blobs.parts(key, upload) == []
    with pytest.raises(BlobStoreError, match="store_unavailable: the object store failed: NoSuchUpload"):
        blobs.finish_upload(key, upload, [UploadedPart(1, 1, '"x"')])


def test_a_download_url_supports_ranges_and_expires(blobs, key, web):
    blobs.put(key, b"0123456789")
    url = blobs.download_url(key, expires_s=60)
    response = web.get(url, headers={"Range": "bytes=3-5"})
    assert (response.status_code, response.content) == (206, b"345")
    short = blobs.download_url(key, expires_s=1)
    wait_until(lambda: web.get(short).status_code == 403, "the URL to expire")
    assert web.get(url.partition("?")[0]).status_code == 403
    assert web.get(url.replace(key, f"{key}x")).status_code == 403


def test_urls_contain_the_public_host(settings):
    public = settings.model_copy(update={"s3_public_endpoint": "https://models.example.org"})
    store = S3BlobStore(public)
    assert urlsplit(store.download_url("blobs/x", expires_s=60)).netloc == "models.example.org"
    assert urlsplit(store.upload_url("uploads/x", "1", 1, expires_s=60)).netloc == "models.example.org"


def test_a_reader_returns_exactly_the_requested_range(blobs, key):
    blobs.put(key, b"0123456789")
    reader = BlobReader(blobs, key, 10)
    assert (reader.read(0, 10), reader.read(10, 0), reader.read(4, 2)) == (b"0123456789", b"", b"45")
    for offset, length in ((0, 11), (10, 1), (-1, 2), (2**63, 1)):
        with pytest.raises(EOFError):
            reader.read(offset, length)
    with pytest.raises(EOFError):
        BlobReader(blobs, key, 20).read(5, 15)


def test_a_store_that_is_down_or_refuses_raises_a_blob_store_error(settings):
    down = S3BlobStore(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with pytest.raises(BlobStoreError) as error:
        down.size("blobs/x")
    assert error.value.retry_after_s
    unauthorized = S3BlobStore(settings.model_copy(update={"s3_secret_key": SecretStr("guess")}))
    with pytest.raises(BlobStoreError, match="store_unavailable: the object store failed: ClientError"):
        unauthorized.put("blobs/x", b"x")


def test_creating_the_bucket_twice_succeeds(blobs):
    blobs.ensure_bucket()
    blobs.ensure_bucket()
