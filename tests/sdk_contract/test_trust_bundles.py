import base64

import pytest

from sdk_contract import strict_json
from sdk_contract.documents import (
    Manifest,
    TrustBundle,
)
from sdk_contract.envelope import key_id
from sdk_contract.errors import (
    ContractError,
    Malformed,
    SignatureInvalid,
    ThresholdNotMet,
    TrustChainBroken,
    UnknownKey,
)
from sdk_contract.signing import sign_envelope
from tests.sdk_contract.document_samples import MANIFEST, OTHER, PUBLISHER, ROOT, ROOT2, ROOT3, bundle, parsed


def test_the_initial_bundle_is_verified_with_its_own_root():
    first = bundle(1, [ROOT])
    assert TrustBundle.from_initial_envelope(first.sign([ROOT])) == first
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        TrustBundle.from_initial_envelope(first.sign([OTHER]))


def test_the_initial_bundle_must_meet_its_root_threshold():
    with pytest.raises(
        ThresholdNotMet, match="threshold_not_met: 1 different keys have signed, 2 are required"
    ):
        TrustBundle.from_initial_envelope(bundle(1, [ROOT, ROOT2], threshold=2).sign([ROOT]))


def test_a_root_rotation_signed_by_old_and_new_roots_is_accepted():
    old, new = bundle(1, [ROOT]), bundle(2, [ROOT2])
    assert old.verify_successor(new.sign([ROOT, ROOT2])) == new


@pytest.mark.parametrize("signers", [[ROOT], [ROOT2], [OTHER], []])
def test_a_root_rotation_without_the_old_or_the_new_signature_is_refused(signers):
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        bundle(1, [ROOT]).verify_successor(bundle(2, [ROOT2]).sign(signers))


def test_a_root_rotation_must_meet_both_thresholds():
    old, new = bundle(1, [ROOT, ROOT2], threshold=2), bundle(2, [ROOT2, ROOT3], threshold=2)
    assert old.verify_successor(new.sign([ROOT, ROOT2, ROOT3])) == new
    with pytest.raises(
        ThresholdNotMet, match="threshold_not_met: 1 different keys have signed, 2 are required"
    ):
        old.verify_successor(new.sign([ROOT, ROOT2]))
    with pytest.raises(
        ThresholdNotMet, match="threshold_not_met: 1 different keys have signed, 2 are required"
    ):
        old.verify_successor(new.sign([ROOT2, ROOT3]))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_successor_must_have_the_next_version(number):
    with pytest.raises(TrustChainBroken, match="trust_chain_broken: version"):
        bundle(1, [ROOT]).verify_successor(bundle(number, [ROOT]).sign([ROOT]))


def test_a_chain_of_root_rotations_is_accepted():
    first, second, third = bundle(1, [ROOT]), bundle(2, [ROOT2]), bundle(3, [ROOT3])
    with pytest.raises(ContractError, match="unknown_key: no signature is by a key of this role"):
        first.verify_successor(third.sign([ROOT2, ROOT3]))
    assert (
        first.verify_successor(second.sign([ROOT, ROOT2])).verify_successor(third.sign([ROOT2, ROOT3]))
        == third
    )


def test_a_successor_can_replace_the_keys_of_a_role():
    old, new = bundle(1, [ROOT]), bundle(2, [ROOT], publishers=[OTHER])
    manifest = parsed(Manifest, MANIFEST).sign([PUBLISHER])
    assert Manifest.from_envelope(manifest, old.for_role("publisher"))
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        Manifest.from_envelope(manifest, old.verify_successor(new.sign([ROOT])).for_role("publisher"))


def test_a_foreign_key_under_a_known_id_does_not_verify():
    fields = strict_json.loads(bundle(1, [ROOT]).to_bytes(), limit=TrustBundle.limit)
    fields["keys"][key_id(ROOT.public_key)]["public"] = base64.b64encode(OTHER.public_key).decode()
    with pytest.raises(SignatureInvalid, match="signature_invalid: the signature by key"):
        TrustBundle.from_initial_envelope(
            sign_envelope(strict_json.dumps(fields), TrustBundle.payload_type, [ROOT])
        )


def test_a_role_with_a_key_that_the_bundle_lacks_is_malformed():
    fields = strict_json.loads(bundle(1, [ROOT]).to_bytes(), limit=TrustBundle.limit)
    del fields["keys"][key_id(PUBLISHER.public_key)]
    with pytest.raises(Malformed, match="malformed: the trust bundle lacks '"):
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
