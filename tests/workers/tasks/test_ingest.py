import io
import json
import os
import pickle
import secrets
import struct
import zipfile

import pytest

from service.blobs import StoreError
from tests.service import actors
from tests.service.actors import bring, component, declare, ok, publish, submit, version, version_body
from tests.workers.delta.layouts.writers import gguf_header, safetensors, safetensors_header
from workers.tasks import bells


def ingest(live, data, *, label="v1", instead=None):
    """Bring a version of one file to its end; `instead` brings other bytes of the same length."""
    ok(declare(live, version_body(label, component(data))))
    bring(live, data, instead=instead)
    ok(submit(live, label))
    jobs = live.run_jobs()
    return version(live, label), jobs


def stored(live, data):
    return actors.process(live).blobs.size(f"blobs/{actors.sha256(data)}")


def fresh():
    """Bytes that no other test has brought to the shared store."""
    return safetensors({"w": ("I8", [16], secrets.token_bytes(16))})


def test_bytes_that_are_not_those_declared_are_rejected_and_can_be_brought_again(live):
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


def test_bytes_of_another_length_than_declared_are_rejected_and_can_be_declared_right(live):
    data = fresh()
    ok(declare(live, version_body("v1", component(data, size=len(data) - 1))))
    upload = actors.start_upload(live, data)
    actors.send_parts(live, upload, data[:-1], upload["parts"])
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
def test_a_file_that_breaks_its_own_formats_rules_rejects_the_version(live, data):
    found, jobs = ingest(live, data)
    assert jobs == [("ingest_version", "dead")]
    assert (found["problem"]["code"], found["problem"]["field"]) == ("malformed_file", "backbone")
    assert (found["state"], stored(live, data)) == ("rejected", None)


class Bomb:
    """Unpickled, it would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_that_would_run_code_is_never_run(live, tmp_path):
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


def test_a_file_of_no_known_format_is_taken_as_it_is(live):
    found, _ = ingest(live, b"tokenizer: " + secrets.token_bytes(8))
    part = found["variants"][0]["components"][0]
    assert (found["state"], part["format"], part["contents"]["tensor_count"]) == ("ready", "opaque", 0)


class Overtaken:
    """An object store that lets something happen before the first look at an object."""

    def __init__(self, blobs, happen):
        self._blobs = blobs
        self._happen = happen

    def __getattr__(self, name):
        return getattr(self._blobs, name)

    def stream(self, key):
        happen, self._happen = self._happen, lambda: None
        happen()
        return self._blobs.stream(key)


def test_two_versions_with_the_same_new_file_are_both_ingested(live):
    """The first one's worker moves the upload away under the second one's."""
    data = fresh()
    for label in ("v1", "v2"):
        ok(declare(live, version_body(label, component(data))))
    bring(live, data)
    for label in ("v1", "v2"):
        ok(submit(live, label))
    first, second = (row["id"] for row in actors.rows(live, "select id from jobs order by created_at"))
    usual = live.worker
    overtaken = Overtaken(usual.blobs, lambda: bells.run(usual, str(first)))
    with live.worker_with(blobs=overtaken):
        bells.run(live.worker, str(second))
    live.run_jobs()
    assert [version(live, label)["state"] for label in ("v1", "v2")] == ["ready", "ready"]


def test_a_worker_that_was_overtaken_does_not_throw_away_what_was_brought_since(live):
    """It finds wrong bytes, but by then somebody else has found that, too, and they have been brought again."""
    data = fresh()
    ok(declare(live, version_body("v1", component(data))))
    bring(live, data, instead=data[:-1] + b"\0")
    ok(submit(live, "v1"))
    (job,) = (row["id"] for row in actors.rows(live, "select id from jobs"))
    usual = live.worker

    def overtake():
        actors.write(live, "update jobs set lease_until = now() - interval '1 second'")
        bells.run(usual, str(job))
        bring(live, data)
        ok(submit(live, "v1"))

    wrong = data[:-1] + b"\0"
    with live.worker_with(blobs=Remembering(usual.blobs, overtake, wrong)):
        bells.run(live.worker, str(job))
    live.run_jobs()
    assert version(live, "v1")["state"] == "ready"


class Remembering(Overtaken):
    """One that shows the bytes as they were before that."""

    def __init__(self, blobs, happen, before):
        super().__init__(blobs, happen)
        self._before = before

    def stream(self, _key):
        self._happen()
        yield self._before


def test_one_bad_file_rejects_the_version_and_the_good_ones_are_not_sent_again(live):
    good, bad = fresh(), fresh()
    ok(declare(live, version_body("v1", component(good), component(bad, "vision"))))
    bring(live, good)
    bring(live, bad, instead=bad[:-1] + b"\0")
    ok(submit(live, "v1"))
    live.run_jobs()
    found = version(live, "v1")
    assert (found["problem"]["field"], found["pending"]) == ("vision", [actors.sha256(bad)])
    assert bring(live, good) == 0
    bring(live, bad)
    ok(submit(live, "v1"))
    live.run_jobs()
    assert version(live, "v1")["state"] == "ready"


def test_a_rejected_label_may_be_used_for_other_content(live):
    data = fresh()
    ingest(live, data, instead=data[:-1] + b"\0")
    assert publish(live, "v1", fresh())["state"] == "ready"


def test_an_upload_that_is_gone_by_the_time_of_the_job_is_named(live):
    data = fresh()
    ok(declare(live, version_body("v1", component(data))))
    bring(live, data)
    ok(submit(live, "v1"))
    blobs = actors.process(live).blobs
    blobs.delete(actors.rows(live, "select key from uploads")[0]["key"])
    live.run_jobs()
    problem = version(live, "v1")["problem"]
    assert (problem["code"], problem["field"]) == ("upload_incomplete", "backbone")
    bring(live, data)
    ok(submit(live, "v1"))
    live.run_jobs()
    assert version(live, "v1")["state"] == "ready"


def test_what_is_shown_of_a_huge_index_is_bounded(live):
    data = safetensors({f"t{n}": ("I8", [1], b"x") for n in range(500)})
    contents = ingest(live, data)[0]["variants"][0]["components"][0]["contents"]
    assert (contents["tensor_count"], len(contents["tensors"])) == (500, 200)
    assert contents["bytes_by_dtype"] == {"i8": 500}
    assert len(json.dumps(contents)) < 50_000


def test_the_staging_area_is_empty_when_all_is_done(live):
    data = fresh()
    ok(declare(live, version_body("v1", component(data))))
    bring(live, data)
    key = actors.rows(live, "select key from uploads")[0]["key"]
    ok(submit(live, "v1"))
    live.run_jobs()
    assert actors.process(live).blobs.size(key) is None
    assert actors.rows(live, "select 1 from uploads") == []


class Forgetful:
    """An object store that cannot copy, as SeaweedFS after a sender was cut off; it may lose bytes before a reading."""

    def __init__(self, blobs, lose_before_reading=None):
        self._blobs = blobs
        self._lose_before_reading = lose_before_reading
        self._readings = 0

    def __getattr__(self, name):
        return getattr(self._blobs, name)

    def copy(self, _source, _target):
        raise StoreError("a part of the source is gone")

    def stream(self, key):
        self._readings += 1
        if self._readings == self._lose_before_reading:
            raise StoreError("a part of the source is gone")
        return self._blobs.stream(key)


def bring_to(live, blobs, data):
    ok(declare(live, version_body("v1", component(data))))
    bring(live, data)
    ok(submit(live, "v1"))
    with live.worker_with(blobs=blobs):
        live.run_jobs()
    return version(live, "v1")


def test_what_the_store_cannot_copy_is_carried(live):
    data = fresh()
    found = bring_to(live, Forgetful(live.worker.blobs), data)
    assert (found["state"], stored(live, data)) == ("ready", len(data))


def test_what_the_store_has_lost_is_asked_for_again_at_once(live):
    data = fresh()
    found = bring_to(live, Forgetful(live.worker.blobs, lose_before_reading=2), data)
    assert (found["state"], found["problem"]["code"]) == ("rejected", "upload_incomplete")
    assert (found["pending"], stored(live, data)) == ([actors.sha256(data)], None)
    assert ingest(live, data)[0]["state"] == "ready"
