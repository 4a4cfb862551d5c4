"""Family `trust`."""

from sdk_contract.envelope import pae
from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTOR,
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


def case(name, comment, shipped, following, expect, *, attack=None):
    inputs = {"shipped": b64(text(shipped)), "next": [b64(text(link)) for link in following]}
    return make_case(
        f"trust.{name}",
        comment,
        inputs,
        expect if isinstance(expect, str) else {"version": expect},
        attack=attack,
    )


def rejected(name, comment, shipped, following, code, version, *, attack="key_compromise"):  # noqa: PLR0917 - the columns of a table
    """A rejected chain; the device keeps bundle `version`."""
    found = case(name, comment, shipped, following, code, attack=attack)
    found["expect"]["version"] = version
    return found


def signed(value, *keys):
    return sealed(value, TRUST, *keys)


V1 = signed(bundle(), ROOT)
TWO_OF_THREE = {"roles": {"root": (ROOT, ROOT2, ROOT3)}, "thresholds": {"root": 2}}


def cases():
    yield from successors()
    yield from rotated_keys()
    yield from changed_thresholds()
    yield from expired_and_unusual_bundles()


def successors():
    yield case("shipped", "the bundle that came with the app", V1, [], 1)
    yield case("next", "an ordinary successor", V1, [signed(bundle(2), ROOT)], 2)
    yield case("next-three", "a chain of three", V1, [signed(bundle(n), ROOT) for n in (2, 3, 4)], 4)


def rotated_keys():
    new_root = bundle(2, roles={"root": (ROOT2,)})
    yield case(
        "rotate-root", "a new root, signed by the old and the new one", V1, [signed(new_root, ROOT, ROOT2)], 2
    )
    then = signed(bundle(3, roles={"root": (ROOT2,)}), ROOT2)
    yield case(
        "rotate-root-and-go-on",
        "after a root rotation the new root signs alone",
        V1,
        [signed(new_root, ROOT, ROOT2), then],
        3,
    )
    yield case(
        "rotate-director",
        "a new director",
        V1,
        [signed(bundle(2, roles={"director": (STRANGER,)}), ROOT)],
        2,
    )


def changed_thresholds():
    yield case(
        "raise-threshold",
        "the root threshold rises from 1 of 1 to 2 of 3",
        V1,
        [signed(bundle(2, **TWO_OF_THREE), ROOT, ROOT2)],
        2,
    )
    quorum = signed(bundle(**TWO_OF_THREE), ROOT, ROOT3)
    yield case("shipped-two-of-three", "a shipped bundle signed by two of three roots", quorum, [], 1)
    yield case(
        "two-of-three-other-two",
        "a successor signed by any two of three roots",
        quorum,
        [signed(bundle(2, **TWO_OF_THREE), ROOT3, ROOT2)],
        2,
    )
    yield case(
        "lower-threshold",
        "the root threshold falls from 2 of 3 to 1 of 1",
        quorum,
        [signed(bundle(2), ROOT, ROOT2)],
        2,
    )


def expired_and_unusual_bundles():
    two = bundle(2, roles={"publisher": (PUBLISHER, PUBLISHER2)}, thresholds={"publisher": 2})
    yield case("add-publisher", "a second publisher", V1, [signed(two, ROOT)], 2)
    yield case(
        "expired-link",
        "an expired bundle in the chain; expiry does not matter here",
        V1,
        [signed(bundle(2, expires="2020-01-01T00:00:00Z"), ROOT)],
        2,
    )
    odd = bundle()
    odd["keys"]["00000000000000aa"] = odd["keys"].pop(ROOT.id)
    odd["roles"]["root"]["keys"] = ["00000000000000aa"]
    alias = {**signed(odd), "signatures": [signature(ROOT, pae(TRUST, encode(odd)), "00000000000000aa")]}
    yield case("key-id-is-a-hint", "a key id that is not the digest of its key", alias, [], 1)
    yield case("ext", "an unknown extension", signed(bundle(ext={"later": {"a": [1]}}), ROOT), [], 1)
    yield case(
        "no-patcher",
        "a bundle without the patcher role",
        signed({**bundle(), "roles": {k: v for k, v in bundle()["roles"].items() if k != "patcher"}}, ROOT),
        [],
        1,
    )
