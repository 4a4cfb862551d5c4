import io
import json
import os
import pickle
import secrets
import struct
import zipfile

import pytest

from service.infrastructure.blobs import BlobStoreError
from tests.service.support import actors
from tests.service.support.actors import (
    component,
    declare,
    ok,
    publish,
    submit,
    upload_file,
    version,
    version_body,
)
from tests.workers.delta.layouts.writers import gguf_header, safetensors, safetensors_header
from workers.tasks import dispatch


def ingest(live, data, *, label="v1", instead=None):
    """Upload and ingest a version of one file; `instead` uploads other bytes of the same length."""
    ok(declare(live, version_body(label, component(data))))
    upload_file(live, data, instead=instead)
    ok(submit(live, label))
    jobs = live.run_jobs()
    return version(live, label), jobs


def stored(live, data):
    return actors.process(live).blobs.size(f"blobs/{actors.sha256(data)}")


def fresh():
    """A file that no other test has uploaded to the shared store."""
    return safetensors({"w": ("I8", [16], secrets.token_bytes(16))})


def test_a_file_with_a_wrong_digest_is_rejected_and_can_be_uploaded_again(live):
    data = fresh()
    found, jobs = ingest(live, data, instead=data[:-1] + b"\0")
    assert jobs == [("ingest_version", "dead")]
    assert found["state"] == "rejected"
    assert (found["problem"]["code"], found["problem"]["field"]) == ("digest_mismatch", "backbone")
    assert (found["manifest_sha256"], stored(live, data)) == (None, None)
    assert found["pending"] == [actors.sha256(data)]
    found, jobs = ingest(live, data)
    assert (found["state"], found["problem"], jobs[-1]) == ("ready", None, ("sign_version", "done"))
    assert stored(live, data) == len(data)


def test_a_file_with_a_wrong_size_is_rejected_and_can_be_declared_again(live):
    data = fresh()
    ok(declare(live, version_body("v1", component(data, size=len(data) - 1))))
    upload = actors.start_upload(live, data)
    actors.send_parts(live, upload, data[:-1], upload["missing_parts"])
    ok(actors.complete(live, upload))
    ok(declare(live, version_body("v2", component(data))))
    ok(submit(live, "v1"))
    live.run_jobs()
    problem = version(live, "v1")["problem"]
    assert (problem["code"], problem["field"]) == ("size_mismatch", "backbone")
    assert ingest(live, data)[0]["state"] == "ready"


HOSTILE = {
    "a safetensors header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a safetensors header longer than the file": struct.pack("<Q", 1000) + b'{"w": {}}',
    "overlapping tensors": safetensors_header(
        {
            "a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]},
            "b": {"dtype": "I8", "shape": [4], "data_offsets": [2, 6]},
        },
        b"abcdef",
    ),
    "tensors behind the end": safetensors_header(
        {"a": {"dtype": "I8", "shape": [400], "data_offsets": [0, 400]}}, b"abcd"
    ),
    "a safetensors shape of 2^64 elements": safetensors_header(
        {"a": {"dtype": "I8", "shape": [2**32, 2**32], "data_offsets": [0, 4]}}, b"abcd"
    ),
    "2^40 tensors in GGUF": gguf_header(2**40, 0),
    "2^40 pairs in GGUF": gguf_header(0, 2**40),
    "a GGUF that ends in its header": gguf_header(1, 1)[:20],
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_violates_its_format_rejects_the_version(live, data):
    found, jobs = ingest(live, data)
    assert jobs == [("ingest_version", "dead")]
    assert (found["problem"]["code"], found["problem"]["field"]) == ("malformed_file", "backbone")
    assert (found["state"], stored(live, data)) == ("rejected", None)


class Bomb:
    """Unpickling it would create a directory."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_never_executed(live, tmp_path):
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("model/data.pkl", bomb)
        file.writestr("model/byteorder", "little")
        file.writestr("model/data/0", b"\0" * 64)
        file.writestr("model/version", "3\n")
    for label, data in (("v1", bomb), ("v2", archive.getvalue())):
        assert ingest(live, data, label=label)[0]["state"] in ("ready", "rejected")
    assert not mark.exists()


def test_a_file_of_unknown_format_is_accepted_as_opaque(live):
    found, _ = ingest(live, b"tokenizer: " + secrets.token_bytes(8))
    part = found["variants"][0]["components"][0]
    assert (found["state"], part["format"], part["contents"]["tensor_count"]) == ("ready", "opaque", 0)


class InterruptedStore:
    """An object store that runs a callback before the first read of an object."""

    def __init__(self, blobs, interrupt):
        self._blobs = blobs
        self._interrupt = interrupt

    def __getattr__(self, name):
        return getattr(self._blobs, name)

    def stream(self, key):
        interrupt, self._interrupt = self._interrupt, lambda: None
        interrupt()
        return self._blobs.stream(key)


def test_two_versions_with_the_same_new_file_are_both_ingested(live):
    """The worker of the first version removes the upload while the second one starts."""
    data = fresh()
    for label in ("v1", "v2"):
        ok(declare(live, version_body(label, component(data))))
    upload_file(live, data)
    for label in ("v1", "v2"):
        ok(submit(live, label))
    first, second = (row["id"] for row in actors.rows(live, "select id from jobs order by created_at"))
    usual = live.worker
    interrupted = InterruptedStore(usual.blobs, lambda: dispatch.run_by_id(usual, str(first)))
    with live.worker_with(blobs=interrupted):
        dispatch.run_by_id(live.worker, str(second))
    live.run_jobs()
    assert [version(live, label)["state"] for label in ("v1", "v2")] == ["ready", "ready"]


def test_a_worker_that_lost_its_lease_does_not_delete_a_newer_upload(live):
    """It reads wrong bytes, but another worker has rejected them already, and they were uploaded again."""
    data = fresh()
    ok(declare(live, version_body("v1", component(data))))
    upload_file(live, data, instead=data[:-1] + b"\0")
    ok(submit(live, "v1"))
    (job,) = (row["id"] for row in actors.rows(live, "select id from jobs"))
    usual = live.worker

    def overtake():
        actors.write(live, "update jobs set lease_until = now() - interval '1 second'")
        dispatch.run_by_id(usual, str(job))
        upload_file(live, data)
        ok(submit(live, "v1"))

    wrong = data[:-1] + b"\0"
    with live.worker_with(blobs=StaleStore(usual.blobs, overtake, wrong)):
        dispatch.run_by_id(live.worker, str(job))
    live.run_jobs()
    assert version(live, "v1")["state"] == "ready"


class StaleStore(InterruptedStore):
    """An object store that still serves the bytes from before the callback."""

    def __init__(self, blobs, interrupt, before):
        super().__init__(blobs, interrupt)
        self._before = before

    def stream(self, _key):
        self._interrupt()
        yield self._before


def test_one_bad_file_rejects_the_version_and_good_files_are_not_uploaded_again(live):
    good, bad = fresh(), fresh()
    ok(declare(live, version_body("v1", component(good), component(bad, "vision"))))
    upload_file(live, good)
    upload_file(live, bad, instead=bad[:-1] + b"\0")
    ok(submit(live, "v1"))
    live.run_jobs()
    found = version(live, "v1")
    assert (found["problem"]["field"], found["pending"]) == ("vision", [actors.sha256(bad)])
    assert upload_file(live, good) == 0
    upload_file(live, bad)
    ok(submit(live, "v1"))
    live.run_jobs()
    assert version(live, "v1")["state"] == "ready"


def test_a_rejected_label_can_be_used_for_other_content(live):
    data = fresh()
    ingest(live, data, instead=data[:-1] + b"\0")
    assert publish(live, "v1", fresh())["state"] == "ready"


def test_a_missing_upload_rejects_the_version_and_names_the_component(live):
    data = fresh()
    ok(declare(live, version_body("v1", component(data))))
    upload_file(live, data)
    ok(submit(live, "v1"))
    blobs = actors.process(live).blobs
    blobs.delete(actors.rows(live, "select key from uploads")[0]["key"])
    live.run_jobs()
    problem = version(live, "v1")["problem"]
    assert (problem["code"], problem["field"]) == ("upload_incomplete", "backbone")
    upload_file(live, data)
    ok(submit(live, "v1"))
    live.run_jobs()
    assert version(live, "v1")["state"] == "ready"


def test_the_stored_summary_of_a_file_with_many_tensors_is_bounded(live):
    data = safetensors({f"t{n}": ("I8", [1], b"x") for n in range(500)})
    contents = ingest(live, data)[0]["variants"][0]["components"][0]["contents"]
    assert (contents["tensor_count"], len(contents["tensors"])) == (500, 200)
    assert contents["bytes_by_dtype"] == {"i8": 500}
    assert len(json.dumps(contents)) < 50_000


def test_the_upload_is_deleted_after_ingest(live):
    data = fresh()
    ok(declare(live, version_body("v1", component(data))))
    upload_file(live, data)
    key = actors.rows(live, "select key from uploads")[0]["key"]
    ok(submit(live, "v1"))
    live.run_jobs()
    assert actors.process(live).blobs.size(key) is None
    assert actors.rows(live, "select 1 from uploads") == []


class StoreWithoutCopy:
    """An object store whose copy fails, as SeaweedFS after an interrupted upload; the read of a given number fails too."""

    def __init__(self, blobs, failing_read=None):
        self._blobs = blobs
        self._failing_read = failing_read
        self._reads = 0

    def __getattr__(self, name):
        return getattr(self._blobs, name)

    def copy(self, _source, _target):
        raise BlobStoreError("a part of the source is gone")

    def stream(self, key):
        self._reads += 1
        if self._reads == self._failing_read:
            raise BlobStoreError("a part of the source is gone")
        return self._blobs.stream(key)


def ingest_with(live, blobs, data):
    ok(declare(live, version_body("v1", component(data))))
    upload_file(live, data)
    ok(submit(live, "v1"))
    with live.worker_with(blobs=blobs):
        live.run_jobs()
    return version(live, "v1")


def test_a_blob_that_the_store_cannot_copy_is_streamed(live):
    data = fresh()
    found = ingest_with(live, StoreWithoutCopy(live.worker.blobs), data)
    assert (found["state"], stored(live, data)) == ("ready", len(data))


def test_an_upload_that_the_store_lost_has_to_be_uploaded_again(live):
    data = fresh()
    found = ingest_with(live, StoreWithoutCopy(live.worker.blobs, failing_read=2), data)
    assert (found["state"], found["problem"]["code"]) == ("rejected", "upload_incomplete")
    assert (found["pending"], stored(live, data)) == ([actors.sha256(data)], None)
    assert ingest(live, data)[0]["state"] == "ready"
