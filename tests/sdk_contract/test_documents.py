import base64
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sdk_contract import strict_json
from sdk_contract.documents import (
    Directive,
    Document,
    Manifest,
    PatchDescriptor,
    RoleKeys,
    TrustBundle,
    check_not_expired,
    format_timestamp,
    payload_digest,
    public_key_entry,
)
from sdk_contract.envelope import key_id
from sdk_contract.errors import (
    ContractError,
    Expired,
    Malformed,
    Oversize,
    SignatureInvalid,
    ThresholdNotMet,
    TrustChainBroken,
    UnknownKey,
    WrongPayloadType,
)
from sdk_contract.signing import sign_envelope
from tests.sdk_contract.signers import FixedSigner, role

A, B = "a" * 64, "b" * 64
ISSUED, EXPIRES = "2026-11-20T12:00:00Z", "2027-11-20T12:00:00Z"
COMPONENT = {"name": "backbone", "path": "backbone.safetensors", "size": 4096, "sha256": A}
MANIFEST = {
    "model": "assistant",
    "version": "v1.3",
    "counter": 3,
    "variants": [{"name": "int8", "components": [COMPONENT]}],
    "issued": ISSUED,
    "expires": EXPIRES,
}
PATCH = {
    "format": "glp1",
    "source": {"sha256": A, "size": 1},
    "target": {"sha256": B, "size": 2},
    "patch": {"sha256": A, "size": 3},
    "working_set": 4,
    "issued": ISSUED,
}
DIRECTIVE = {
    "device_id": "dev_12345",
    "model": "assistant",
    "request_sha256": A,
    "action": "none",
    "reason": "up_to_date",
    "next_poll_s": 60,
    "issued": ISSUED,
    "expires": EXPIRES,
}
ROOT, ROOT2, ROOT3, PUBLISHER, OTHER = (FixedSigner(seed) for seed in range(1, 6))


def with_component(**fields):
    return MANIFEST | {"variants": [{"name": "int8", "components": [COMPONENT | fields]}]}


def parsed(kind: type[Document], fields):
    return kind.from_payload(strict_json.dumps(fields))


def bundle(number, roots, *, threshold=1, publishers=(PUBLISHER,)):
    people = {"root": roots, "publisher": publishers, "director": (OTHER,), "patcher": (OTHER,)}
    entries = {name: dict(public_key_entry(s.public_key) for s in held) for name, held in people.items()}
    return TrustBundle(
        version=number,
        expires=EXPIRES,
        keys={keyid: key for held in entries.values() for keyid, key in held.items()},
        roles={
            name: RoleKeys(keys=list(held), threshold=threshold if name == "root" else 1)
            for name, held in entries.items()
        },
    )


# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields"), [(Manifest, MANIFEST), (PatchDescriptor, PATCH), (Directive, DIRECTIVE)]
)
def test_a_document_has_one_byte_form(kind, fields):
    document = parsed(kind, fields)
    assert kind.from_payload(document.to_bytes()) == document
    assert document.to_bytes() == strict_json.dumps(fields)


@pytest.mark.parametrize(
    ("kind", "fields"), [(Manifest, MANIFEST), (PatchDescriptor, PATCH), (Directive, DIRECTIVE)]
)
def test_every_field_without_a_default_is_needed(kind, fields):
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
def test_unknown_fields_are_refused(fields):
    with pytest.raises(Malformed):
        parsed(Manifest, fields)


def test_what_an_older_client_may_ignore_stands_under_ext():
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
def test_a_component_is_a_plain_file_name(path):
    with pytest.raises(Malformed, match="path"):
        parsed(Manifest, with_component(path=path))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "-x", "a b", "x" * 64, "n\n", "é", "²"])
def test_names_are_short_and_plain(name):
    with pytest.raises(Malformed, match="name"):
        parsed(Manifest, with_component(name=name))
    with pytest.raises(Malformed, match="model"):
        parsed(Manifest, MANIFEST | {"model": name})


@pytest.mark.parametrize("digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", 5, None])
def test_a_digest_is_64_lower_case_hex_digits(digest):
    with pytest.raises(Malformed, match="sha256"):
        parsed(Manifest, with_component(sha256=digest))


@pytest.mark.parametrize("size", [-1, "4096", True, None, []])
def test_a_size_is_a_count_of_bytes(size):
    with pytest.raises(Malformed, match="size"):
        parsed(Manifest, with_component(size=size))


def test_an_empty_file_and_a_huge_one_can_be_described():
    assert parsed(Manifest, with_component(size=0))
    assert parsed(Manifest, with_component(size=2**53 - 1))


@pytest.mark.parametrize("counter", [-1, "3", True])
def test_a_counter_counts(counter):
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
def test_a_time_has_one_spelling(moment):
    with pytest.raises(Malformed, match="expires"):
        parsed(Manifest, MANIFEST | {"expires": moment})


def test_moments_are_written_in_utc_and_cut_to_the_second():
    east = timezone(timedelta(hours=8))
    assert format_timestamp(datetime(2026, 11, 20, 20, 0, 0, 999_999, tzinfo=east)) == ISSUED


@pytest.mark.parametrize(
    "variants", [[], [{"name": "x", "components": []}], [{"name": "x", "components": [COMPONENT] * 65}]]
)
def test_a_manifest_holds_something_and_not_too_much(variants):
    with pytest.raises(Malformed, match="variants"):
        parsed(Manifest, MANIFEST | {"variants": variants})


def test_a_variant_is_found_by_its_name():
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


def test_a_document_cannot_be_changed_once_it_is_open():
    with pytest.raises(FrozenInstanceError):
        parsed(Manifest, MANIFEST).counter = 9


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'{"model":1.5}', b'{"model":"a","model":"b"}'])
def test_what_is_no_document_is_malformed(payload):
    with pytest.raises(Malformed):
        Manifest.from_payload(payload)


# --- envelopes ------------------------------------------------------------------------------------


def test_a_document_opens_for_the_role_that_vouches_for_it():
    manifest = parsed(Manifest, MANIFEST)
    assert Manifest.from_envelope(manifest.sign([PUBLISHER]), role(PUBLISHER)) == manifest


def test_a_manifest_by_another_role_is_refused():
    with pytest.raises(UnknownKey):
        Manifest.from_envelope(parsed(Manifest, MANIFEST).sign([OTHER]), role(PUBLISHER))


@pytest.mark.parametrize("kind", [PatchDescriptor, Directive, TrustBundle])
def test_one_kind_of_document_is_never_taken_for_another(kind):
    with pytest.raises(WrongPayloadType):
        kind.from_envelope(parsed(Manifest, MANIFEST).sign([PUBLISHER]), role(PUBLISHER))


def test_fields_are_read_only_after_the_signature():
    with pytest.raises(UnknownKey):
        Manifest.from_envelope(sign_envelope(b"{}", Manifest.payload_type, [OTHER]), role(PUBLISHER))
    with pytest.raises(Malformed):
        Manifest.from_envelope(sign_envelope(b"{}", Manifest.payload_type, [PUBLISHER]), role(PUBLISHER))


@pytest.mark.parametrize("kind", [Manifest, PatchDescriptor, Directive, TrustBundle])
def test_an_envelope_beyond_the_bound_of_its_kind_is_refused(kind):
    with pytest.raises(Oversize):
        kind.from_envelope(b" " * (kind.limit + 1), role(PUBLISHER))


def test_a_manifest_is_named_by_the_digest_of_its_payload_whoever_signed_it():
    manifest = parsed(Manifest, MANIFEST)
    assert payload_digest(manifest.sign([PUBLISHER])) == payload_digest(manifest.sign([OTHER, PUBLISHER]))
    assert payload_digest(manifest.sign([PUBLISHER])) != payload_digest(
        parsed(Manifest, MANIFEST | {"counter": 4}).sign([PUBLISHER])
    )


def test_a_document_is_fresh_until_the_second_it_expires():
    manifest, end = parsed(Manifest, MANIFEST), datetime(2027, 11, 20, 12, tzinfo=UTC)
    check_not_expired(manifest, end - timedelta(seconds=1))
    for late in (end, end + timedelta(days=1)):
        with pytest.raises(Expired):
            check_not_expired(manifest, late)


# --- trust ----------------------------------------------------------------------------------------


def test_the_first_bundle_vouches_for_itself():
    first = bundle(1, [ROOT])
    assert TrustBundle.from_initial_envelope(first.sign([ROOT])) == first
    with pytest.raises(UnknownKey):
        TrustBundle.from_initial_envelope(first.sign([OTHER]))


def test_the_first_bundle_needs_its_whole_threshold():
    with pytest.raises(ThresholdNotMet):
        TrustBundle.from_initial_envelope(bundle(1, [ROOT, ROOT2], threshold=2).sign([ROOT]))


def test_new_roots_are_believed_when_old_and_new_have_signed():
    old, new = bundle(1, [ROOT]), bundle(2, [ROOT2])
    assert old.verify_successor(new.sign([ROOT, ROOT2])) == new


@pytest.mark.parametrize("signers", [[ROOT], [ROOT2], [OTHER], []])
def test_new_roots_are_refused_when_either_side_has_not_signed(signers):
    with pytest.raises(UnknownKey):
        bundle(1, [ROOT]).verify_successor(bundle(2, [ROOT2]).sign(signers))


def test_both_thresholds_count():
    old, new = bundle(1, [ROOT, ROOT2], threshold=2), bundle(2, [ROOT2, ROOT3], threshold=2)
    assert old.verify_successor(new.sign([ROOT, ROOT2, ROOT3])) == new
    with pytest.raises(ThresholdNotMet):
        old.verify_successor(new.sign([ROOT, ROOT2]))
    with pytest.raises(ThresholdNotMet):
        old.verify_successor(new.sign([ROOT2, ROOT3]))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_only_the_very_next_version_follows(number):
    with pytest.raises(TrustChainBroken):
        bundle(1, [ROOT]).verify_successor(bundle(number, [ROOT]).sign([ROOT]))


def test_a_chain_leads_from_the_first_roots_to_the_last():
    first, second, third = bundle(1, [ROOT]), bundle(2, [ROOT2]), bundle(3, [ROOT3])
    with pytest.raises(ContractError):
        first.verify_successor(third.sign([ROOT2, ROOT3]))
    assert (
        first.verify_successor(second.sign([ROOT, ROOT2])).verify_successor(third.sign([ROOT2, ROOT3]))
        == third
    )


def test_the_keys_of_a_role_change_with_the_bundle():
    old, new = bundle(1, [ROOT]), bundle(2, [ROOT], publishers=[OTHER])
    manifest = parsed(Manifest, MANIFEST).sign([PUBLISHER])
    assert Manifest.from_envelope(manifest, old.for_role("publisher"))
    with pytest.raises(UnknownKey):
        Manifest.from_envelope(manifest, old.verify_successor(new.sign([ROOT])).for_role("publisher"))


def test_a_key_that_poses_under_anothers_id_does_not_fit():
    fields = strict_json.loads(bundle(1, [ROOT]).to_bytes(), limit=TrustBundle.limit)
    fields["keys"][key_id(ROOT.public_key)]["public"] = base64.b64encode(OTHER.public_key).decode()
    with pytest.raises(SignatureInvalid):
        TrustBundle.from_initial_envelope(
            sign_envelope(strict_json.dumps(fields), TrustBundle.payload_type, [ROOT])
        )


def test_a_role_whose_key_the_bundle_does_not_hold_is_malformed():
    fields = strict_json.loads(bundle(1, [ROOT]).to_bytes(), limit=TrustBundle.limit)
    del fields["keys"][key_id(PUBLISHER.public_key)]
    with pytest.raises(Malformed):
        TrustBundle.from_payload(strict_json.dumps(fields)).for_role("publisher")


@pytest.mark.parametrize(
    "entry",
    [{"keys": [], "threshold": 1}, {"keys": ["ab"], "threshold": 1}, {"keys": ["a" * 16], "threshold": 0}],
)
def test_a_role_has_keys_and_a_threshold(entry):
    fields = strict_json.loads(bundle(1, [ROOT]).to_bytes(), limit=TrustBundle.limit)
    fields["roles"]["publisher"] = entry
    with pytest.raises(Malformed, match="roles"):
        TrustBundle.from_payload(strict_json.dumps(fields))


def test_a_manifest_names_each_variant_once():
    part = {"name": "backbone", "path": "a.bin", "size": 1, "sha256": "0" * 64}
    fields = {"model": "m", "version": "v1", "counter": 1, "issued": "2026-01-01T00:00:00Z"}
    fields |= {"expires": "2027-01-01T00:00:00Z", "variants": [{"name": "int4", "components": [part]}] * 2}
    with pytest.raises(Malformed, match="share a name"):
        Manifest.from_payload(strict_json.dumps(fields))
