"""Family `trust`: rejected chains, and correctly signed bundles with invalid fields."""

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
    yield from broken_chains()
    yield from malformed()


def broken_chains():
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
    third = [signed(bundle(2), ROOT), signed(bundle(3), STRANGER), signed(bundle(4), ROOT)]
    yield rejected(
        "broken-in-the-middle", "the bundles before a broken one are kept", V1, third, "unknown_key", 2
    )
    retired = [signed(new_root, ROOT, ROOT2), signed(bundle(3), ROOT)]
    yield rejected("retired-root", "signed by a root that was rotated out", V1, retired, "unknown_key", 2)
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


def malformed():
    broken = {
        "no-root": {**bundle(), "roles": {k: v for k, v in bundle()["roles"].items() if k != "root"}},
        "missing-key": {**bundle(), "keys": {}},
        "unknown-role": {
            **bundle(),
            "roles": {**bundle()["roles"], "janitor": {"keys": [ROOT.id], "threshold": 1}},
        },
        "unknown-field": bundle(color="blue"),
        "threshold-zero": bundle(thresholds={"root": 0}),
        "threshold-negative": bundle(thresholds={"root": -1}),
        "no-keys-in-role": {**bundle(), "roles": {**bundle()["roles"], "root": {"keys": [], "threshold": 1}}},
        "version-string": bundle("1"),
        "version-true": bundle(True),
        "version-negative": bundle(-1),
        "expires-missing": {key: value for key, value in bundle().items() if key != "expires"},
        "expires-date-only": bundle(expires="2027-06-01"),
        "expires-30-february": bundle(expires="2027-02-30T00:00:00Z"),
        "expires-offset": bundle(expires="2027-06-01T00:00:00+00:00"),
        "expires-lower-case": bundle(expires="2027-06-01t00:00:00z"),
        "expires-wide-digits": bundle(expires="２０２７-06-01T00:00:00Z"),
        "expires-null": bundle(expires=None),
    }
    short = bundle()
    short["keys"][ROOT.id] = {"public": b64(ROOT.public_key[:31])}
    other = bundle()
    other["keys"][ROOT.id] = {"alg": "rsa", "public": b64(ROOT.public_key)}
    named = bundle()
    named["keys"]["ROOT"] = named["keys"][ROOT.id]
    broken |= {"key-31-bytes": short, "key-other-algorithm": other, "key-id-not-hex": named}
    for name, value in broken.items():
        yield case(
            f"malformed-{name}",
            f"correctly signed, malformed: {name.replace('-', ' ')}",
            signed(value, ROOT),
            [],
            "malformed",
            attack="parser_differences",
        )
    twice = encode(bundle())[:-1] + b',"version":9}'
    yield case(
        "malformed-two-versions",
        "correctly signed, two versions",
        signed(twice, ROOT),
        [],
        "malformed",
        attack="parser_differences",
    )
    decimal = encode(bundle()).replace(b'"version":1', b'"version":1.0')
    yield case(
        "malformed-version-float",
        "correctly signed, a float",
        signed(decimal, ROOT),
        [],
        "malformed",
        attack="parser_differences",
    )
    yield case(
        "oversize",
        "more than 32 KiB",
        signed(bundle(ext={"x": "a" * 32768}), ROOT),
        [],
        "oversize",
        attack="endless_data",
    )
