"""Versions whose publisher signs: what the server takes, and what it refuses."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from sdk_contract.documents import Manifest, TrustBundle, format_timestamp
from service import signing
from service.cli.errors import CliError
from service.cli.releases.manifest import signed_manifest
from service.cli.releases.publish import LocalFile, LocalVariant, Release, publish_release
from tests.service.support.actors import (
    component,
    declare,
    enroll,
    ok,
    publish,
    refresh,
    refused,
    roll_out,
    rows,
    set_up_once,
    sha256,
    submit,
    upload_file,
    version,
    version_body,
)

DATA = b"weights " * 4096


@pytest.fixture
def publisher(live):
    return signing.load_signer(live.settings.publisher_key, "publisher")


@pytest.fixture
def without_key(live):
    """A server whose workers hold no publisher's key."""
    with live.worker_with(settings=live.settings.model_copy(update={"publisher_key": None})):
        yield


@pytest.fixture
@set_up_once
def handed_in(live):
    ok(declare(live, version_body("v1", component(DATA), signed_by_publisher=True)))
    upload_file(live, DATA)
    ok(submit(live, "v1"))
    live.run_jobs()


@pytest.fixture
def waiting(without_key, handed_in):
    """A version that waits for its publisher."""
    return handed_in


def manifest(live, **changes):
    """What the publisher would sign, told from the server's view."""
    view, now = version(live, "v1"), datetime.now(UTC)
    fields = {
        "model": "m",
        "version": "v1",
        "counter": view["counter"],
        "issued": format_timestamp(now),
        "expires": format_timestamp(now + timedelta(days=9)),
        "variants": [{"name": "default", "components": [component(DATA)]}],
    }
    return Manifest(**fields | changes)


def hand_in(live, envelope, scope="publisher"):
    body = {"envelope": json.loads(envelope)}
    return live.call("POST", "/v1/admin/models/m/versions/v1/manifest", body, scope)


def test_a_version_waits_for_its_publisher_and_no_worker_signs_it(waiting):
    view = version(waiting, "v1")
    assert (view["state"], view["awaits_manifest"], view["manifest_sha256"]) == ("ingesting", True, None)
    assert waiting.run_jobs() == []


def test_the_publishers_envelope_is_what_devices_get_byte_for_byte(waiting, publisher):
    envelope = manifest(waiting, requires={"runtime": ">=2"}).sign([publisher])
    ok(hand_in(waiting, envelope))
    waiting.run_jobs()
    assert version(waiting, "v1")["state"] == "ready"
    refresh(waiting)
    roll_out(waiting, "r", "v1")
    answer = enroll(waiting).poll()
    assert json.loads(envelope) == answer["manifest"]["envelope"]
    role = TrustBundle.from_initial_envelope(waiting.trust).for_role("publisher")
    assert Manifest.from_envelope(json.dumps(answer["manifest"]["envelope"]).encode(), role).requires == {
        "runtime": ">=2"
    }


def test_handing_the_same_manifest_in_twice_changes_nothing(waiting, publisher):
    envelope = manifest(waiting).sign([publisher])
    ok(hand_in(waiting, envelope))
    ok(hand_in(waiting, envelope))
    waiting.run_jobs()
    assert ok(hand_in(waiting, envelope))["state"] == "ready"


def test_a_second_manifest_for_a_ready_version_is_refused(waiting, publisher):
    ok(hand_in(waiting, manifest(waiting).sign([publisher])))
    waiting.run_jobs()
    later = manifest(waiting, expires="2099-01-01T00:00:00Z").sign([publisher])
    refused(hand_in(waiting, later), 409, "wrong_state")


@pytest.mark.parametrize("role", ["root", "director", "patcher"])
def test_the_key_of_another_role_makes_nothing_genuine(waiting, role):
    signer = signing.load_signer(f"file:{waiting.settings.scratch_dir}/{role}.pem", role)
    problem = refused(hand_in(waiting, manifest(waiting).sign([signer])), 422, "invalid_manifest")
    assert problem["contract_code"] == "unknown_key"


def test_an_expired_manifest_is_refused(waiting, publisher):
    old = manifest(waiting, expires="2020-01-01T00:00:00Z").sign([publisher])
    assert refused(hand_in(waiting, old), 422, "invalid_manifest")["contract_code"] == "expired"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "other"),
        ("version", "v2"),
        ("counter", 77),
        ("floor", 1),
        ("variants", [{"name": "default", "components": [component(b"other bytes")]}]),
        ("variants", [{"name": "small", "components": [component(DATA)]}]),
        ("variants", [{"name": "default", "priority": 3, "components": [component(DATA)]}]),
    ],
)
def test_a_genuine_manifest_of_something_else_is_refused(waiting, publisher, field, value):
    envelope = manifest(waiting, **{field: value}).sign([publisher])
    refused(hand_in(waiting, envelope), 409, "manifest_mismatch", at=f"envelope.{field}")


def test_a_manifest_before_the_files_were_looked_at_may_come_again_later(live, publisher):
    ok(declare(live, version_body("v1", component(DATA), signed_by_publisher=True)))
    upload_file(live, DATA)
    ok(submit(live, "v1"))
    problem = refused(hand_in(live, manifest(live).sign([publisher])), 409, "version_not_ready")
    assert problem["retry_after_s"] == 2


def test_a_version_that_a_worker_signs_takes_no_manifest(live, publisher):
    publish(live, "v1", DATA)
    refused(hand_in(live, manifest(live).sign([publisher])), 409, "wrong_state")


def test_a_viewer_hands_nothing_in(waiting, publisher):
    refused(hand_in(waiting, manifest(waiting).sign([publisher]), "viewer"), 403, "forbidden")


def test_who_signs_is_part_of_the_declaration(waiting):
    again = declare(waiting, version_body("v1", component(DATA), signed_by_publisher=False))
    refused(again, 409, "version_exists")


def test_a_worker_whose_key_no_device_believes_makes_nothing_ready(live, tmp_path):
    signing.create_key(tmp_path / "stranger.pem")
    strange = live.settings.model_copy(update={"publisher_key": f"file:{tmp_path}/stranger.pem"})
    with live.worker_with(settings=strange):
        assert publish(live, "v1", DATA)["state"] == "ingesting"
    error = rows(live, "select error from jobs where kind = 'sign_version'")[0]["error"]
    assert error["code"] == "key_unusable"
    assert "do not believe" in error["detail"]


class InProcess:
    """The admin API as the command line calls it, without a socket; the workers run at each look."""

    def __init__(self, live):
        self.live = live

    def call(self, method, path, body=None):
        if method == "GET":
            self.live.run_jobs()
        return ok(self.live.call(method, path, body, "publisher"))


def release(live, tmp_path, data=DATA):
    path = tmp_path / "backbone.bin"
    path.write_bytes(data)
    file = LocalFile("backbone", path, sha256(data))
    bring_later = Release("m", "v1", [LocalVariant("default", {}, 0, [file])])
    ok(declare(live, version_body("v1", component(data, path="backbone.bin"), signed_by_publisher=True)))
    upload_file(live, data)
    return bring_later


def test_ci_signs_where_it_uploads_and_the_server_holds_no_publishers_key(live, tmp_path, publisher):
    with live.worker_with(settings=live.settings.model_copy(update={"publisher_key": None})):
        wanted = release(live, tmp_path)
        result = publish_release(InProcess(live), wanted, Console(stderr=True), [publisher])
    assert result["state"] == "ready"


def test_ci_does_not_sign_a_floor_that_it_did_not_ask_for(publisher):
    declared = {"label": "v1", "floor": None, "variants": []}
    view = {"counter": 1, "floor": 1, "variants": []}
    with pytest.raises(CliError, match="nothing here asked for one"):
        signed_manifest(declared, "m", view, [publisher], now=datetime.now(UTC))
