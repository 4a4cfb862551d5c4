"""Manifests signed by publishers: which are accepted, and which are refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from sdk_contract.documents import Manifest, TrustBundle, format_timestamp
from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.releases.manifest import signed_manifest
from service.cli.releases.publish import LocalFile, LocalVariant, Release, publish_release
from service.infrastructure import signing
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
    """A server whose workers have no publisher key."""
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
    """A version that waits for the manifest of its publisher."""
    return handed_in


def manifest(live, **changes):
    """The manifest that the publisher would sign, built from the API response."""
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


def test_a_version_signed_by_its_publisher_waits_and_is_not_signed_by_a_worker(waiting):
    view = version(waiting, "v1")
    assert (view["state"], view["awaits_manifest"], view["manifest_sha256"]) == ("ingesting", True, None)
    assert waiting.run_jobs() == []


def test_devices_get_the_envelope_of_the_publisher_byte_for_byte(waiting, publisher):
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


def test_submitting_the_same_manifest_twice_changes_nothing(waiting, publisher):
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
def test_a_manifest_signed_with_the_key_of_another_role_is_refused(waiting, role):
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
def test_a_signed_manifest_that_describes_other_content_is_refused(waiting, publisher, field, value):
    envelope = manifest(waiting, **{field: value}).sign([publisher])
    refused(hand_in(waiting, envelope), 409, "manifest_mismatch", at=f"envelope.{field}")


def test_a_manifest_submitted_before_ingestion_may_be_submitted_again_later(live, publisher):
    ok(declare(live, version_body("v1", component(DATA), signed_by_publisher=True)))
    upload_file(live, DATA)
    ok(submit(live, "v1"))
    problem = refused(hand_in(live, manifest(live).sign([publisher])), 409, "version_not_ready")
    assert problem["retry_after_s"] == 2


def test_a_version_signed_by_a_worker_accepts_no_manifest(live, publisher):
    publish(live, "v1", DATA)
    refused(hand_in(live, manifest(live).sign([publisher])), 409, "wrong_state")


def test_a_viewer_may_not_submit_a_manifest(waiting, publisher):
    refused(hand_in(waiting, manifest(waiting).sign([publisher]), "viewer"), 403, "forbidden")


def test_a_declaration_with_another_signer_is_other_content(waiting):
    again = declare(waiting, version_body("v1", component(DATA), signed_by_publisher=False))
    refused(again, 409, "version_exists")


def test_a_worker_whose_key_devices_do_not_trust_publishes_nothing(live, tmp_path):
    signing.create_key(tmp_path / "untrusted.pem")
    settings = live.settings.model_copy(update={"publisher_key": f"file:{tmp_path}/untrusted.pem"})
    with live.worker_with(settings=settings):
        assert publish(live, "v1", DATA)["state"] == "ingesting"
    error = rows(live, "select error from jobs where kind = 'sign_version'")[0]["error"]
    assert error["code"] == "key_unusable"
    assert "does not accept the signature" in error["detail"]


class InProcess(AdminApi):
    """The admin API as the command line calls it, without a socket; every request runs the workers first."""

    def __init__(self, live):
        self.live = live

    def call(self, method, path, body=None, headers=None):
        assert headers is None
        if method == "GET":
            self.live.run_jobs()
        return ok(self.live.call(method, path, body, "publisher"))


def release(live, tmp_path, data=DATA):
    path = tmp_path / "backbone.bin"
    path.write_bytes(data)
    file = LocalFile("backbone", path, sha256(data))
    declared_release = Release("m", "v1", [LocalVariant("default", {}, 0, [file])])
    ok(declare(live, version_body("v1", component(data, path="backbone.bin"), signed_by_publisher=True)))
    upload_file(live, data)
    return declared_release


def test_ci_can_upload_and_sign_while_the_server_has_no_publisher_key(live, tmp_path, publisher):
    with live.worker_with(settings=live.settings.model_copy(update={"publisher_key": None})):
        declared_release = release(live, tmp_path)
        result = publish_release(InProcess(live), declared_release, Console(stderr=True), [publisher])
    assert result["state"] == "ready"


def test_ci_does_not_sign_a_manifest_with_another_floor(publisher):
    declared: dict[str, Any] = {"label": "v1", "floor": None, "variants": []}
    view = {"counter": 1, "floor": 1, "variants": []}
    with pytest.raises(CliError, match="no --floor was given"):
        signed_manifest(declared, "m", view, [publisher], now=datetime.now(UTC))
