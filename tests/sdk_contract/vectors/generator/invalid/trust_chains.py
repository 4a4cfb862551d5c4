"""Family `trust`: rejected chains and rejected shipped bundles."""

from sdk_contract.envelope import pae
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTOR,
    MANIFEST,
    PUBLISHER,
    ROOT,
    ROOT2,
    STRANGER,
    TRUST,
    b64,
    encode,
    sealed,
    signature,
)
from tests.sdk_contract.vectors.generator.trust import TWO_OF_THREE, V1, bundle, case, rejected, signed


def cases():
    yield from missing_root_signatures()
    yield from unmet_thresholds()
    yield from wrong_versions()
    yield from broken_links()
    yield from wrong_types_and_changed_payloads()
    yield from wrong_signers_of_the_shipped_bundle()
    yield from unmet_thresholds_of_the_shipped_bundle()


def missing_root_signatures():
    new_root = bundle(2, roles={"root": (ROOT2,)})
    yield rejected(
        "only-old-root", "a new root that has not signed", V1, [signed(new_root, ROOT)], "unknown_key", 1
    )
    yield rejected(
        "only-new-root",
        "a new root without the old root's signature",
        V1,
        [signed(new_root, ROOT2)],
        "unknown_key",
        1,
    )
    foreign = bundle(2, roles={"root": (STRANGER,), "publisher": (STRANGER,)})
    yield rejected(
        "foreign-root",
        "a stranger's own bundle",
        V1,
        [signed(foreign, STRANGER)],
        "unknown_key",
        1,
        attack="arbitrary_software",
    )
    yield rejected(
        "director-signs-trust", "signed by the director", V1, [signed(bundle(2), DIRECTOR)], "unknown_key", 1
    )


def unmet_thresholds():
    quorum = signed(bundle(**TWO_OF_THREE), ROOT, ROOT2)
    yield rejected(
        "old-threshold-unmet",
        "one signature where the old bundle requires two",
        quorum,
        [signed(bundle(2), ROOT)],
        "threshold_not_met",
        1,
    )
    yield rejected(
        "new-threshold-unmet",
        "one signature where the new bundle requires two",
        V1,
        [signed(bundle(2, **TWO_OF_THREE), ROOT)],
        "threshold_not_met",
        1,
    )
    yield rejected(
        "same-root-twice",
        "one root has signed twice",
        quorum,
        [signed(bundle(2, **TWO_OF_THREE), ROOT, ROOT)],
        "threshold_not_met",
        1,
    )


def wrong_versions():
    yield rejected(
        "skip",
        "version 3 after version 1",
        V1,
        [signed(bundle(3), ROOT)],
        "trust_chain_broken",
        1,
        attack="fast_forward",
    )
    yield rejected(
        "skip-to-the-end",
        "version 2^53 - 1 after version 1",
        V1,
        [signed(bundle(2**53 - 1), ROOT)],
        "trust_chain_broken",
        1,
        attack="fast_forward",
    )
    yield rejected(
        "same-version",
        "version 1 after version 1",
        V1,
        [signed(bundle(1), ROOT)],
        "trust_chain_broken",
        1,
        attack="rollback",
    )
    back = [signed(bundle(2), ROOT), signed(bundle(1), ROOT)]
    yield rejected("back", "version 1 after version 2", V1, back, "trust_chain_broken", 2, attack="rollback")


def broken_links():
    new_root = bundle(2, roles={"root": (ROOT2,)})
    third = [signed(bundle(2), ROOT), signed(bundle(3), STRANGER), signed(bundle(4), ROOT)]
    yield rejected(
        "broken-in-the-middle", "the bundles before a broken one are kept", V1, third, "unknown_key", 2
    )
    retired = [signed(new_root, ROOT, ROOT2), signed(bundle(3), ROOT)]
    yield rejected("retired-root", "signed by a root that was rotated out", V1, retired, "unknown_key", 2)


def wrong_types_and_changed_payloads():
    yield rejected(
        "other-type",
        "a manifest in the chain",
        V1,
        [sealed(bundle(2), MANIFEST, ROOT)],
        "wrong_payload_type",
        1,
        attack="mix_and_match",
    )
    yield rejected(
        "relabelled",
        "a manifest whose type was changed",
        V1,
        [sealed(bundle(2), MANIFEST, ROOT, label=TRUST)],
        "signature_invalid",
        1,
        attack="mix_and_match",
    )
    changed = {**signed(bundle(2), ROOT), "payload": b64(encode(bundle(2, expires="2099-01-01T00:00:00Z")))}
    yield rejected(
        "changed",
        "a later expiry, changed after signing",
        V1,
        [changed],
        "signature_invalid",
        1,
        attack="freeze",
    )


def wrong_signers_of_the_shipped_bundle():
    yield case(
        "shipped-unsigned",
        "an unsigned shipped bundle",
        signed(bundle()),
        [],
        "unknown_key",
        attack="key_compromise",
    )
    yield case(
        "shipped-by-stranger",
        "a shipped bundle signed by a stranger",
        signed(bundle(), STRANGER),
        [],
        "unknown_key",
        attack="key_compromise",
    )
    yield case(
        "shipped-by-publisher",
        "a shipped bundle signed by a key of another role",
        signed(bundle(), PUBLISHER),
        [],
        "unknown_key",
        attack="key_compromise",
    )


def unmet_thresholds_of_the_shipped_bundle():
    yield case(
        "threshold-above-keys",
        "a threshold of two with one key",
        signed(bundle(thresholds={"root": 2}), ROOT),
        [],
        "threshold_not_met",
        attack="key_compromise",
    )
    doubled = bundle(thresholds={"root": 2})
    doubled["roles"]["root"]["keys"] *= 2
    yield case(
        "same-id-listed-twice",
        "one key id listed twice",
        signed(doubled, ROOT, ROOT),
        [],
        "threshold_not_met",
        attack="key_compromise",
    )
    aliased = bundle(thresholds={"root": 2})
    aliased["keys"]["0" * 16] = aliased["keys"][ROOT.id]
    aliased["roles"]["root"]["keys"].append("0" * 16)
    both = {
        **signed(aliased),
        "signatures": [signature(ROOT, pae(TRUST, encode(aliased)), keyid) for keyid in (ROOT.id, "0" * 16)],
    }
    yield case(
        "same-key-two-ids", "one key under two ids", both, [], "threshold_not_met", attack="key_compromise"
    )
