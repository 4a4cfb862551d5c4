import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_contract.envelope import MAX_SIGNATURES, Role, key_id, pae, unverified_payload, verify_envelope
from sdk_contract.errors import (
    ContractError,
    Malformed,
    Oversize,
    SignatureInvalid,
    ThresholdNotMet,
    UnknownKey,
    WrongPayloadType,
)
from sdk_contract.signing import sign_envelope
from tests.sdk_contract.signers import FixedSigner, role

KIND = "application/vnd.graylag.test+json"
PAYLOAD = b'{"says":"hello"}'
ANN, BOB, EVE = FixedSigner(1), FixedSigner(2), FixedSigner(3)
LIMIT = 4096


def opened(envelope, trusted, kind=KIND, limit=LIMIT):
    return verify_envelope(envelope, kind, trusted, limit=limit)


def changed(envelope, **fields):
    return json.dumps(json.loads(envelope) | fields).encode()


def signatures(envelope):
    return json.loads(envelope)["signatures"]


def test_the_signed_bytes_match_the_dsse_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_and_not_characters():
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.text(max_size=20), st.binary(max_size=50), st.text(max_size=20), st.binary(max_size=50))
@settings(deadline=None)
def test_different_documents_have_different_signed_bytes(kind, payload, other_kind, other_payload):
    same = (kind, payload) == (other_kind, other_payload)
    assert (pae(kind, payload) == pae(other_kind, other_payload)) is same


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_a_verified_payload_is_the_signed_one_byte_for_byte(payload):
    assert opened(sign_envelope(payload, KIND, [ANN]), role(ANN)) == payload


def test_a_changed_payload_is_refused():
    envelope = changed(sign_envelope(PAYLOAD, KIND, [ANN]), payload=base64.b64encode(b"{}").decode())
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        opened(envelope, role(ANN))


def test_an_envelope_whose_type_was_changed_to_the_expected_one_is_refused():
    envelope = changed(sign_envelope(PAYLOAD, KIND, [ANN]), payloadType="application/other")
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        opened(envelope, role(ANN), kind="application/other")


def test_a_correctly_signed_document_of_another_kind_is_refused():
    with pytest.raises(
        WrongPayloadType, match=r"wrong_payload_type: expected application/vnd\.graylag\.test\+json, got"
    ):
        opened(sign_envelope(PAYLOAD, "application/other", [ANN]), role(ANN))


def test_a_signature_by_an_unknown_key_is_refused():
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        opened(sign_envelope(PAYLOAD, KIND, [EVE]), role(ANN))


def test_an_envelope_without_signatures_is_refused():
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        opened(sign_envelope(PAYLOAD, KIND, []), role(ANN))


def test_additional_signatures_by_unknown_keys_are_ignored():
    assert opened(sign_envelope(PAYLOAD, KIND, [EVE, ANN, BOB]), role(ANN)) == PAYLOAD


def test_a_threshold_counts_different_keys():
    both = role(ANN, BOB, threshold=2)
    assert opened(sign_envelope(PAYLOAD, KIND, [ANN, BOB]), both) == PAYLOAD
    with pytest.raises(
        ThresholdNotMet, match="threshold_not_met: 1 different keys have signed, 2 are required"
    ):
        opened(sign_envelope(PAYLOAD, KIND, [ANN]), both)


def test_a_repeated_signature_counts_once():
    with pytest.raises(
        ThresholdNotMet, match="threshold_not_met: 1 different keys have signed, 2 are required"
    ):
        opened(sign_envelope(PAYLOAD, KIND, [ANN, ANN]), role(ANN, BOB, threshold=2))


def test_a_key_listed_under_two_ids_counts_once():
    twice = Role({"a" * 16: ANN.public_key, "b" * 16: ANN.public_key}, threshold=2)
    envelope = sign_envelope(PAYLOAD, KIND, [ANN])
    signature = signatures(envelope)[0]["sig"]
    doubled = changed(
        envelope, signatures=[{"keyid": "a" * 16, "sig": signature}, {"keyid": "b" * 16, "sig": signature}]
    )
    with pytest.raises(
        ThresholdNotMet, match="threshold_not_met: 1 different keys have signed, 2 are required"
    ):
        opened(doubled, twice)


def test_a_threshold_of_zero_requires_one_signature():
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        opened(sign_envelope(PAYLOAD, KIND, []), role(ANN, threshold=0))


def test_a_known_key_id_with_a_foreign_signature_is_refused():
    envelope = sign_envelope(PAYLOAD, KIND, [EVE])
    posing = changed(
        envelope, signatures=[{"keyid": key_id(ANN.public_key), "sig": signatures(envelope)[0]["sig"]}]
    )
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        opened(posing, role(ANN))


def test_one_invalid_signature_by_a_known_key_is_refused():
    envelope = sign_envelope(PAYLOAD, KIND, [ANN, BOB])
    first, second = signatures(envelope)
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        opened(changed(envelope, signatures=[first, second | {"sig": first["sig"]}]), role(ANN, BOB))


def test_a_malformed_key_verifies_nothing():
    broken = Role({key_id(ANN.public_key): b"short"}, 1)
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        opened(sign_envelope(PAYLOAD, KIND, [ANN]), broken)


@pytest.mark.parametrize("flip", range(64))
def test_a_change_of_any_byte_of_a_signature_is_refused(flip):
    envelope = sign_envelope(PAYLOAD, KIND, [ANN])
    entry = signatures(envelope)[0]
    signature = bytearray(base64.b64decode(entry["sig"]))
    signature[flip] ^= 1
    entry["sig"] = base64.b64encode(signature).decode()
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        opened(changed(envelope, signatures=[entry]), role(ANN))


# --- the order of the checks: size, form, kind, voices --------------------------------------------


def test_the_size_is_checked_before_parsing():
    with pytest.raises(Oversize, match="oversize: 13 bytes, at most 5 are allowed"):
        opened(b"not even json", role(ANN), limit=5)


def test_the_type_is_checked_before_the_signatures():
    with pytest.raises(
        WrongPayloadType, match=r"wrong_payload_type: expected application/vnd\.graylag\.test\+json, got"
    ):
        opened(sign_envelope(PAYLOAD, "application/other", [EVE]), role(ANN))


def test_a_payload_that_is_not_json_is_verified_like_any_other():
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        opened(sign_envelope(b"\x00not json", KIND, [EVE]), role(ANN))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"payloadType": 1}, "payloadType and keyid must be strings"),
        ({"payloadType": None}, "payloadType and keyid must be strings"),
        ({"payload": 1}, "an envelope is"),
        ({"payload": None}, "an envelope is"),
        ({"payload": "?"}, "not base64"),
        ({"payload": "é"}, "not base64"),
        ({"payload": "QQ"}, "not base64"),
        ({"payload": "QR=="}, "base64 whose last character"),
        ({"payload": "Q Q="}, "not base64"),
        ({"payload": ["QQ=="]}, "an envelope is"),
        ({"signatures": None}, "signatures must be a list"),
        ({"signatures": 5}, "signatures must be a list"),
        ({"signatures": "ab"}, "signatures must be a list"),
        ({"signatures": {"keyid": "a", "sig": "QQ=="}}, "signatures must be a list"),
        ({"signatures": [None]}, "an envelope is"),
        ({"signatures": [[]]}, "an envelope is"),
        ({"signatures": [{"keyid": "a"}]}, "an envelope is"),
        ({"signatures": [{"sig": "QQ=="}]}, "an envelope is"),
        ({"signatures": [{"keyid": 1, "sig": "QQ=="}]}, "payloadType and keyid must be strings"),
        ({"signatures": [{"keyid": ["a"], "sig": "QQ=="}]}, "payloadType and keyid must be strings"),
        ({"signatures": [{"keyid": "a", "sig": None}]}, "an envelope is"),
        ({"signatures": [{"keyid": "a", "sig": "QQ=="}] * (MAX_SIGNATURES + 1)}, "at most 16 are allowed"),
    ],
)
def test_an_envelope_with_an_invalid_member_is_malformed(fields, message):
    with pytest.raises(Malformed, match=message):
        opened(changed(sign_envelope(PAYLOAD, KIND, [ANN]), **fields), role(ANN))


@pytest.mark.parametrize("outer", [b"1", b"[]", b"null", b'"x"', b"{}"])
def test_json_that_is_not_an_envelope_is_malformed(outer):
    with pytest.raises(
        Malformed, match=r"malformed: an envelope is \{payloadType, payload, signatures: \[\{keyid,"
    ):
        opened(outer, role(ANN))


def test_sixteen_signatures_are_accepted():
    crowd = [FixedSigner(seed) for seed in range(10, 10 + MAX_SIGNATURES)]
    assert opened(sign_envelope(PAYLOAD, KIND, crowd), role(*crowd, threshold=MAX_SIGNATURES)) == PAYLOAD


def test_the_unverified_payload_is_available_without_keys():
    assert unverified_payload(sign_envelope(PAYLOAD, KIND, []), limit=LIMIT) == PAYLOAD
    with pytest.raises(Oversize, match="oversize: 104 bytes, at most 10 are allowed"):
        unverified_payload(sign_envelope(PAYLOAD, KIND, []), limit=10)


@given(st.data())
@settings(deadline=None)
def test_a_corrupted_envelope_never_yields_another_payload(data):
    envelope = bytearray(sign_envelope(PAYLOAD, KIND, [ANN]))
    place = data.draw(st.integers(0, len(envelope) - 1))
    envelope[place] = data.draw(st.integers(0, 255))
    try:
        payload = opened(bytes(envelope), role(ANN))
    except ContractError:
        return
    assert payload == PAYLOAD
