"""Family `trust`."""

from sdk_contract.envelope import pae
from tests.sdk_contract.vectors.generator.case import case
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTOR,
    MANIFEST,
    PATCHER,
    PUBLISHER,
    PUBLISHER2,
    ROOT,
    ROOT2,
    ROOT3,
    STRANGER,
    TRUST,
    b64,
    encode,
    sealed,
    signature,
)

ROLES = {"root": (ROOT,), "publisher": (PUBLISHER,), "director": (DIRECTOR,), "patcher": (PATCHER,)}


def bundle(version=1, *, roles=None, thresholds=None, expires="2027-06-01T00:00:00Z", **extra):
    roles = {**ROLES, **(roles or {})}
    return {
        "version": version,
        "expires": expires,
        "keys": {key.id: {"public": b64(key.public_key)} for keys in roles.values() for key in keys},
        "roles": {
            name: {"keys": [key.id for key in keys], "threshold": (thresholds or {}).get(name, 1)}
            for name, keys in roles.items()
        },
        **extra,
    }


def text(value):
    return value if isinstance(value, bytes) else encode(value)


def one(name, comment, shipped, following, expect, *, attack=None):
    inputs = {"shipped": b64(text(shipped)), "next": [b64(text(link)) for link in following]}
    return case(
        f"trust.{name}",
        comment,
        inputs,
        expect if isinstance(expect, str) else {"version": expect},
        attack=attack,
    )


def stuck(name, comment, shipped, following, code, version, *, attack="key_compromise"):  # noqa: PLR0917 - the columns of a table
    """Refused on the option; the device keeps `version`."""
    found = one(name, comment, shipped, following, code, attack=attack)
    found["expect"]["version"] = version
    return found


def signed(value, *keys):
    return sealed(value, TRUST, *keys)


V1 = signed(bundle(), ROOT)
TWO_OF_THREE = {"roles": {"root": (ROOT, ROOT2, ROOT3)}, "thresholds": {"root": 2}}


def cases():
    yield from chains()
    yield from broken_chains()
    yield from fields()


def chains():
    yield one("shipped", "the bundle that came with the app", V1, [], 1)
    yield one("next", "an ordinary successor", V1, [signed(bundle(2), ROOT)], 2)
    yield one("next-three", "a chain", V1, [signed(bundle(n), ROOT) for n in (2, 3, 4)], 4)
    new_root = bundle(2, roles={"root": (ROOT2,)})
    yield one("rotate-root", "the old and the new root sign", V1, [signed(new_root, ROOT, ROOT2)], 2)
    then = signed(bundle(3, roles={"root": (ROOT2,)}), ROOT2)
    yield one("rotate-root-and-go-on", "then the new one alone", V1, [signed(new_root, ROOT, ROOT2), then], 3)
    yield one(
        "rotate-director",
        "another director",
        V1,
        [signed(bundle(2, roles={"director": (STRANGER,)}), ROOT)],
        2,
    )
    yield one(
        "raise-threshold", "from 1 of 1 to 2 of 3", V1, [signed(bundle(2, **TWO_OF_THREE), ROOT, ROOT2)], 2
    )
    quorum = signed(bundle(**TWO_OF_THREE), ROOT, ROOT3)
    yield one("shipped-two-of-three", "two of three", quorum, [], 1)
    yield one(
        "two-of-three-other-two", "any two", quorum, [signed(bundle(2, **TWO_OF_THREE), ROOT3, ROOT2)], 2
    )
    yield one("lower-threshold", "from 2 of 3 to 1 of 1", quorum, [signed(bundle(2), ROOT, ROOT2)], 2)
    two = bundle(2, roles={"publisher": (PUBLISHER, PUBLISHER2)}, thresholds={"publisher": 2})
    yield one("add-publisher", "a second publisher", V1, [signed(two, ROOT)], 2)
    yield one(
        "expired-link",
        "expiry stops installs, not the walk",
        V1,
        [signed(bundle(2, expires="2020-01-01T00:00:00Z"), ROOT)],
        2,
    )
    odd = bundle()
    odd["keys"]["00000000000000aa"] = odd["keys"].pop(ROOT.id)
    odd["roles"]["root"]["keys"] = ["00000000000000aa"]
    alias = {**signed(odd), "signatures": [signature(ROOT, pae(TRUST, encode(odd)), "00000000000000aa")]}
    yield one("key-id-is-a-hint", "an id need not be the digest of its key", alias, [], 1)
    yield one(
        "ext", "an extension that we do not know", signed(bundle(ext={"later": {"a": [1]}}), ROOT), [], 1
    )
    yield one(
        "no-patcher",
        "a role may be absent",
        signed({**bundle(), "roles": {k: v for k, v in bundle()["roles"].items() if k != "patcher"}}, ROOT),
        [],
        1,
    )


def broken_chains():
    new_root = bundle(2, roles={"root": (ROOT2,)})
    yield stuck(
        "only-old-root", "the new root has not signed", V1, [signed(new_root, ROOT)], "unknown_key", 1
    )
    yield stuck(
        "only-new-root", "the old root has not signed", V1, [signed(new_root, ROOT2)], "unknown_key", 1
    )
    foreign = bundle(2, roles={"root": (STRANGER,), "publisher": (STRANGER,)})
    yield stuck(
        "foreign-root",
        "a stranger's own bundle",
        V1,
        [signed(foreign, STRANGER)],
        "unknown_key",
        1,
        attack="arbitrary_software",
    )
    yield stuck(
        "director-signs-trust", "a stolen director key", V1, [signed(bundle(2), DIRECTOR)], "unknown_key", 1
    )
    quorum = signed(bundle(**TWO_OF_THREE), ROOT, ROOT2)
    yield stuck(
        "old-threshold-unmet",
        "one of the two that the old bundle asks for",
        quorum,
        [signed(bundle(2), ROOT)],
        "threshold_not_met",
        1,
    )
    yield stuck(
        "new-threshold-unmet",
        "one of the two that the new bundle asks for",
        V1,
        [signed(bundle(2, **TWO_OF_THREE), ROOT)],
        "threshold_not_met",
        1,
    )
    yield stuck(
        "same-root-twice",
        "one root signs twice",
        quorum,
        [signed(bundle(2, **TWO_OF_THREE), ROOT, ROOT)],
        "threshold_not_met",
        1,
    )
    yield stuck(
        "skip",
        "version 3 after 1",
        V1,
        [signed(bundle(3), ROOT)],
        "trust_chain_broken",
        1,
        attack="fast_forward",
    )
    yield stuck(
        "skip-to-the-end",
        "version 2^53 - 1",
        V1,
        [signed(bundle(2**53 - 1), ROOT)],
        "trust_chain_broken",
        1,
        attack="fast_forward",
    )
    yield stuck(
        "same-version",
        "version 1 after 1",
        V1,
        [signed(bundle(1), ROOT)],
        "trust_chain_broken",
        1,
        attack="rollback",
    )
    back = [signed(bundle(2), ROOT), signed(bundle(1), ROOT)]
    yield stuck("back", "version 1 after 2", V1, back, "trust_chain_broken", 2, attack="rollback")
    third = [signed(bundle(2), ROOT), signed(bundle(3), STRANGER), signed(bundle(4), ROOT)]
    yield stuck("broken-in-the-middle", "what came before holds", V1, third, "unknown_key", 2)
    retired = [signed(new_root, ROOT, ROOT2), signed(bundle(3), ROOT)]
    yield stuck("retired-root", "a root that was rotated out", V1, retired, "unknown_key", 2)
    yield stuck(
        "other-type",
        "a manifest in the chain",
        V1,
        [sealed(bundle(2), MANIFEST, ROOT)],
        "wrong_payload_type",
        1,
        attack="mix_and_match",
    )
    yield stuck(
        "relabelled",
        "with the right label",
        V1,
        [sealed(bundle(2), MANIFEST, ROOT, label=TRUST)],
        "signature_invalid",
        1,
        attack="mix_and_match",
    )
    changed = {**signed(bundle(2), ROOT), "payload": b64(encode(bundle(2, expires="2099-01-01T00:00:00Z")))}
    yield stuck("changed", "a longer life, unsigned", V1, [changed], "signature_invalid", 1, attack="freeze")
    yield one(
        "shipped-unsigned",
        "the first must vouch for itself",
        signed(bundle()),
        [],
        "unknown_key",
        attack="key_compromise",
    )
    yield one(
        "shipped-by-stranger",
        "and not by another",
        signed(bundle(), STRANGER),
        [],
        "unknown_key",
        attack="key_compromise",
    )
    yield one(
        "shipped-by-publisher",
        "nor by a key of another role",
        signed(bundle(), PUBLISHER),
        [],
        "unknown_key",
        attack="key_compromise",
    )
    yield one(
        "threshold-above-keys",
        "two of one",
        signed(bundle(thresholds={"root": 2}), ROOT),
        [],
        "threshold_not_met",
        attack="key_compromise",
    )
    doubled = bundle(thresholds={"root": 2})
    doubled["roles"]["root"]["keys"] *= 2
    yield one(
        "same-id-listed-twice",
        "one key listed twice",
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
    yield one(
        "same-key-two-ids", "one key under two ids", both, [], "threshold_not_met", attack="key_compromise"
    )


def fields():
    broken = {
        "no-root": {**bundle(), "roles": {k: v for k, v in bundle()["roles"].items() if k != "root"}},
        "key-not-held": {**bundle(), "keys": {}},
        "unknown-role": {
            **bundle(),
            "roles": {**bundle()["roles"], "janitor": {"keys": [ROOT.id], "threshold": 1}},
        },
        "unknown-field": bundle(colour="blue"),
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
        yield one(
            f"malformed-{name}",
            f"well signed, and {name.replace('-', ' ')}",
            signed(value, ROOT),
            [],
            "malformed",
            attack="parser_differences",
        )
    twice = encode(bundle())[:-1] + b',"version":9}'
    yield one(
        "malformed-two-versions",
        "well signed, with two versions",
        signed(twice, ROOT),
        [],
        "malformed",
        attack="parser_differences",
    )
    decimal = encode(bundle()).replace(b'"version":1', b'"version":1.0')
    yield one(
        "malformed-version-float",
        "well signed, with a float",
        signed(decimal, ROOT),
        [],
        "malformed",
        attack="parser_differences",
    )
    yield one(
        "oversize",
        "more than 32 KiB",
        signed(bundle(ext={"x": "a" * 32768}), ROOT),
        [],
        "oversize",
        attack="endless_data",
    )
