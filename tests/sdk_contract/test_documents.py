from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sdk_contract import strict_json
from sdk_contract.documents import (
    Directive,
    Manifest,
    PatchDescriptor,
    TrustBundle,
    check_not_expired,
    format_timestamp,
    payload_digest,
)
from sdk_contract.errors import (
    Expired,
    Malformed,
    Oversize,
    UnknownKey,
    WrongPayloadType,
)
from sdk_contract.signing import sign_envelope
from tests.sdk_contract.document_samples import (
    COMPONENT,
    DIRECTIVE,
    ISSUED,
    MANIFEST,
    OTHER,
    PATCH,
    PUBLISHER,
    A,
    parsed,
    with_component,
)
from tests.sdk_contract.signers import role

# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields"), [(Manifest, MANIFEST), (PatchDescriptor, PATCH), (Directive, DIRECTIVE)]
)
def test_a_document_is_serialized_in_one_form(kind, fields):
    document = parsed(kind, fields)
    assert kind.from_payload(document.to_bytes()) == document
    assert document.to_bytes() == strict_json.dumps(fields)


@pytest.mark.parametrize(
    ("kind", "fields"), [(Manifest, MANIFEST), (PatchDescriptor, PATCH), (Directive, DIRECTIVE)]
)
def test_every_field_without_a_default_is_required(kind, fields):
    for name in fields:
        with pytest.raises(Malformed, match=name):
            parsed(kind, {key: value for key, value in fields.items() if key != name})


@pytest.mark.parametrize(
    "fields",
    [
        MANIFEST | {"surprise": 1},
        with_component(surprise=1),
        MANIFEST | {"variants": [{**MANIFEST["variants"][0], "x": 1}]},
    ],
)
def test_an_unknown_field_is_malformed(fields):
    with pytest.raises(Malformed, match="unknown field"):
        parsed(Manifest, fields)


def test_unknown_fields_are_allowed_below_ext():
    document = parsed(Manifest, MANIFEST | {"ext": {"licence": "apache", "anything": [1, {}]}})
    assert document.ext["licence"] == "apache"


@pytest.mark.parametrize(
    "path",
    [
        "../weights",
        "a/../b",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "",
        "a\0b",
        "a b",
        "a\n",
        "C:x",
        "ü",
        "x" * 129,
    ],
)
def test_the_path_of_a_component_is_a_file_name(path):
    with pytest.raises(Malformed, match="path"):
        parsed(Manifest, with_component(path=path))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "-x", "a b", "x" * 64, "n\n", "é", "²"])
def test_names_are_short_and_have_no_special_characters(name):
    with pytest.raises(Malformed, match="name"):
        parsed(Manifest, with_component(name=name))
    with pytest.raises(Malformed, match="model"):
        parsed(Manifest, MANIFEST | {"model": name})


@pytest.mark.parametrize("digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", 5, None])
def test_a_digest_is_64_lowercase_hex_digits(digest):
    with pytest.raises(Malformed, match="sha256"):
        parsed(Manifest, with_component(sha256=digest))


@pytest.mark.parametrize("size", [-1, "4096", True, None, []])
def test_a_size_is_a_non_negative_integer(size):
    with pytest.raises(Malformed, match="size"):
        parsed(Manifest, with_component(size=size))


def test_sizes_from_zero_to_the_largest_integer_are_valid():
    assert parsed(Manifest, with_component(size=0))
    assert parsed(Manifest, with_component(size=2**53 - 1))


@pytest.mark.parametrize("counter", [-1, "3", True])
def test_a_counter_is_a_non_negative_integer(counter):
    with pytest.raises(Malformed, match="counter"):
        parsed(Manifest, MANIFEST | {"counter": counter})


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-20",
        "2026-11-20T12:00:00",
        "2026-11-20T12:00:00+00:00",
        "2026-11-20T12:00:00.5Z",
        "2026-11-20 12:00:00Z",
        "2026-11-20t12:00:00z",
        "2026-02-30T12:00:00Z",
        "2026-11-20T24:00:00Z",
        "２０２６-11-20T12:00:00Z",
        "2026-11-20T12:00:00Z\n",
        1795348800,
    ],
)
def test_a_time_has_one_form(moment):
    with pytest.raises(Malformed, match="expires"):
        parsed(Manifest, MANIFEST | {"expires": moment})


def test_a_timestamp_is_formatted_in_utc_and_truncated_to_the_second():
    east = timezone(timedelta(hours=8))
    assert format_timestamp(datetime(2026, 11, 20, 20, 0, 0, 999_999, tzinfo=east)) == ISSUED


@pytest.mark.parametrize(
    "variants", [[], [{"name": "x", "components": []}], [{"name": "x", "components": [COMPONENT] * 65}]]
)
def test_a_manifest_has_1_to_64_variants_with_1_to_64_components(variants):
    with pytest.raises(Malformed, match="variants"):
        parsed(Manifest, MANIFEST | {"variants": variants})


def test_a_variant_can_be_found_by_name():
    manifest = parsed(Manifest, MANIFEST)
    assert manifest.variant("int8") is manifest.variants[0]
    assert manifest.variant("int4") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"device_id": "../x"},
        {"device_id": "x" * 129},
        {"nonce": "n" * 65},
        {"action": "explode"},
        {"reason": "r" * 65},
        {"next_poll_s": -1},
        {"next_poll_s": 8 * 86400},
        {"manifest_sha256": "v1"},
    ],
)
def test_the_fields_of_a_directive_are_bounded(fields):
    with pytest.raises(Malformed, match=next(iter(fields))):
        parsed(Directive, DIRECTIVE | fields)


@pytest.mark.parametrize(
    "fields", [{"format": "zip"}, {"source": {"sha256": A}}, {"target": {"size": 1}}, {"working_set": -1}]
)
def test_the_fields_of_a_patch_descriptor_are_bounded(fields):
    with pytest.raises(Malformed, match=next(iter(fields))):
        parsed(PatchDescriptor, PATCH | fields)


def test_a_document_is_immutable():
    with pytest.raises(FrozenInstanceError):
        parsed(Manifest, MANIFEST).counter = 9


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "Expecting value"),
        (b"[]", "is not allowed here"),
        (b"null", "'None' is not allowed here"),
        (b'{"model":1.5}', "is not an integer"),
        (b'{"model":"a","model":"b"}', "an object has the same key twice"),
    ],
)
def test_a_payload_that_is_not_a_document_is_malformed(payload, message):
    with pytest.raises(Malformed, match=message):
        Manifest.from_payload(payload)


# --- envelopes ------------------------------------------------------------------------------------


def test_a_document_signed_by_its_role_is_accepted():
    manifest = parsed(Manifest, MANIFEST)
    assert Manifest.from_envelope(manifest.sign([PUBLISHER]), role(PUBLISHER)) == manifest


def test_a_manifest_by_another_role_is_refused():
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        Manifest.from_envelope(parsed(Manifest, MANIFEST).sign([OTHER]), role(PUBLISHER))


@pytest.mark.parametrize("kind", [PatchDescriptor, Directive, TrustBundle])
def test_a_document_of_another_kind_is_refused(kind):
    with pytest.raises(WrongPayloadType, match=r"got application/vnd\.graylag\.manifest\.v1\+json"):
        kind.from_envelope(parsed(Manifest, MANIFEST).sign([PUBLISHER]), role(PUBLISHER))


def test_signatures_are_verified_before_the_fields():
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        Manifest.from_envelope(sign_envelope(b"{}", Manifest.payload_type, [OTHER]), role(PUBLISHER))
    with pytest.raises(Malformed, match=r"malformed: \w+: missing"):
        Manifest.from_envelope(sign_envelope(b"{}", Manifest.payload_type, [PUBLISHER]), role(PUBLISHER))


@pytest.mark.parametrize("kind", [Manifest, PatchDescriptor, Directive, TrustBundle])
def test_an_envelope_larger_than_the_limit_of_its_kind_is_refused(kind):
    with pytest.raises(Oversize, match="bytes, at most"):
        kind.from_envelope(b" " * (kind.limit + 1), role(PUBLISHER))


def test_the_digest_of_a_manifest_does_not_depend_on_its_signatures():
    manifest = parsed(Manifest, MANIFEST)
    assert payload_digest(manifest.sign([PUBLISHER])) == payload_digest(manifest.sign([OTHER, PUBLISHER]))
    assert payload_digest(manifest.sign([PUBLISHER])) != payload_digest(
        parsed(Manifest, MANIFEST | {"counter": 4}).sign([PUBLISHER])
    )


def test_a_document_is_valid_until_the_second_before_it_expires():
    manifest, end = parsed(Manifest, MANIFEST), datetime(2027, 11, 20, 12, tzinfo=UTC)
    check_not_expired(manifest, end - timedelta(seconds=1))
    for late in (end, end + timedelta(days=1)):
        with pytest.raises(Expired, match="expired: Manifest expired at 2027-11-20T12:00:00Z"):
            check_not_expired(manifest, late)


def test_two_variants_with_the_same_name_are_malformed():
    part = {"name": "backbone", "path": "a.bin", "size": 1, "sha256": "0" * 64}
    fields = {"model": "m", "version": "v1", "counter": 1, "issued": "2026-01-01T00:00:00Z"}
    fields |= {"expires": "2027-01-01T00:00:00Z", "variants": [{"name": "int4", "components": [part]}] * 2}
    with pytest.raises(Malformed, match="share a name"):
        Manifest.from_payload(strict_json.dumps(fields))
