"""Family `envelope`."""

from sdk_contract.envelope import pae
from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTIVE,
    MANIFEST,
    PUBLISHER,
    PUBLISHER2,
    STRANGER,
    b64,
    encode,
    flip,
    sealed,
    sha,
    signature,
)

PAYLOAD = b'{"model":"demo"}'
ORDER = 2**252 + 27742317777372353535851937790883648493
ONE = ((PUBLISHER.id, PUBLISHER),)
TWO = ((PUBLISHER.id, PUBLISHER), (PUBLISHER2.id, PUBLISHER2))


def case(
    name, comment, envelope, expect=None, *, keys=ONE, threshold=1, attack=None, limit=4096, payload=PAYLOAD
):
    role = {"threshold": threshold, "keys": {keyid: b64(key.public_key) for keyid, key in keys}}
    data = envelope if isinstance(envelope, bytes) else encode(envelope)
    inputs = {"envelope": b64(data), "payload_type": MANIFEST, "role": role, "limit": limit}
    result = expect or {"payload_sha256": sha(payload)}
    return make_case(f"envelope.{name}", comment, inputs, result, attack=attack)


def good(*keys, payload=PAYLOAD):
    return sealed(payload, MANIFEST, *keys)


def with_signature(raw, key=PUBLISHER):
    return {**good(), "signatures": [{"keyid": key.id, "sig": b64(raw)}]}


def malleable():
    """A signature with S + L instead of S, which satisfies the same equation but which RFC 8032 §5.1.7 forbids."""
    raw = PUBLISHER.sign(pae(MANIFEST, PAYLOAD))
    return raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")


def cases():
    yield from accepted()
    yield from changed_payloads()
    yield from changed_signatures()
    yield from wrong_signature_lengths()
    yield from signatures_over_other_bytes()
    yield from unknown_signers()
    yield from other_encodings()
    yield from wrong_payload_types()
    yield from invalid_beside_valid_signatures()


def accepted():
    yield case("one-signature", "one key, one signature", good(PUBLISHER))
    yield case("two-of-two", "both keys have signed", good(PUBLISHER, PUBLISHER2), keys=TWO, threshold=2)
    yield case(
        "two-of-two-other-order",
        "the order of signatures does not matter",
        good(PUBLISHER2, PUBLISHER),
        keys=TWO,
        threshold=2,
    )
    yield case("one-of-two", "either key is enough", good(PUBLISHER2), keys=TWO)
    yield case("stranger-beside", "an additional signature by an unknown key", good(STRANGER, PUBLISHER))
    yield case("empty-payload", "an empty payload", good(PUBLISHER, payload=b""), payload=b"")
    yield case(
        "binary-payload",
        "the payload is not parsed",
        good(PUBLISHER, payload=b"\0\xff"),
        payload=b"\0\xff",
    )
    yield case(
        "float-in-payload",
        "a payload that strict JSON forbids",
        good(PUBLISHER, payload=b'{"a":1.5}'),
        payload=b'{"a":1.5}',
    )
    yield case("unknown-member", "an unknown member of the envelope", {**good(PUBLISHER), "note": "hello"})
    yield case("blanks", "whitespace between tokens", encode(good(PUBLISHER)).replace(b",", b" ,\n"))
    exact = encode(good(PUBLISHER))
    yield case("at-limit", "exactly as long as the limit", exact, limit=len(exact))
    yield case(
        "same-signature-twice",
        "a repeated signature counts once, and one is enough",
        good(PUBLISHER, PUBLISHER),
    )


def changed_payloads():
    attack = "arbitrary_software"
    changed = {**good(PUBLISHER), "payload": b64(flip(PAYLOAD, 3))}
    yield case(
        "payload-changed", "one bit of the payload changed", changed, "signature_invalid", attack=attack
    )
    longer = {**good(PUBLISHER), "payload": b64(PAYLOAD + b" ")}
    yield case("payload-longer", "one more space in the payload", longer, "signature_invalid", attack=attack)


def changed_signatures():
    attack = "arbitrary_software"
    raw = PUBLISHER.sign(pae(MANIFEST, PAYLOAD))
    yield case(
        "signature-changed",
        "one bit of R changed",
        with_signature(flip(raw)),
        "signature_invalid",
        attack=attack,
    )
    yield case(
        "signature-changed-s",
        "one bit of S changed",
        with_signature(flip(raw, 40)),
        "signature_invalid",
        attack=attack,
    )
    yield case(
        "signature-s-plus-l",
        "S replaced by S + L",
        with_signature(malleable()),
        "signature_invalid",
        attack=attack,
    )
    yield case(
        "signature-zero",
        "a signature of 64 zeros",
        with_signature(bytes(64)),
        "signature_invalid",
        attack=attack,
    )


def wrong_signature_lengths():
    attack = "arbitrary_software"
    raw = PUBLISHER.sign(pae(MANIFEST, PAYLOAD))
    yield case(
        "signature-empty", "an empty signature", with_signature(b""), "signature_invalid", attack=attack
    )
    yield case(
        "signature-63",
        "a signature one byte too short",
        with_signature(raw[:63]),
        "signature_invalid",
        attack=attack,
    )
    yield case(
        "signature-65",
        "a signature one byte too long",
        with_signature(raw + b"\0"),
        "signature_invalid",
        attack=attack,
    )


def signatures_over_other_bytes():
    attack = "arbitrary_software"
    yield case(
        "no-pae",
        "a signature over the payload alone",
        with_signature(PUBLISHER.sign(PAYLOAD)),
        "signature_invalid",
        attack=attack,
    )
    digest = PUBLISHER.sign(sha(PAYLOAD).encode())
    yield case(
        "over-digest",
        "a signature over the digest of the payload",
        with_signature(digest),
        "signature_invalid",
        attack=attack,
    )


def unknown_signers():
    attack = "arbitrary_software"
    yield case(
        "stranger", "signed by a key that is not of the role", good(STRANGER), "unknown_key", attack=attack
    )
    lie = {**good(), "signatures": [signature(STRANGER, pae(MANIFEST, PAYLOAD), PUBLISHER.id)]}
    yield case(
        "stranger-under-known-id",
        "signed by a stranger under a known key id",
        lie,
        "signature_invalid",
        attack=attack,
    )


def other_encodings():
    attack = "arbitrary_software"
    shifted = sealed(MANIFEST[-1:].encode() + PAYLOAD, MANIFEST[:-1], PUBLISHER, label=MANIFEST)
    yield case(
        "type-and-payload-shifted",
        "a byte moved from the type to the payload",
        shifted,
        "signature_invalid",
        attack=attack,
    )
    spaces = b"DSSEv1 %d %s  %d %s" % (len(MANIFEST), MANIFEST.encode(), len(PAYLOAD), PAYLOAD)
    yield case(
        "pae-other-blanks",
        "a signature over another encoding",
        with_signature(PUBLISHER.sign(spaces)),
        "signature_invalid",
        attack=attack,
    )


def wrong_payload_types():
    other = sealed(PAYLOAD, DIRECTIVE, PUBLISHER)
    yield case(
        "other-type",
        "a genuine envelope of another type",
        other,
        "wrong_payload_type",
        attack="mix_and_match",
    )
    relabelled = sealed(PAYLOAD, DIRECTIVE, PUBLISHER, label=MANIFEST)
    yield case(
        "other-type-relabelled",
        "a genuine envelope whose type was changed",
        relabelled,
        "signature_invalid",
        attack="mix_and_match",
    )
    yield case(
        "type-other-case",
        "types are compared as bytes, case matters",
        sealed(PAYLOAD, MANIFEST.upper(), PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    yield case(
        "type-blank",
        "types are compared as bytes, a trailing space matters",
        sealed(PAYLOAD, MANIFEST + " ", PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    yield case(
        "type-v2",
        "a later version of the type",
        sealed(PAYLOAD, MANIFEST.replace("v1", "v2"), PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )


def invalid_beside_valid_signatures():
    attack = "arbitrary_software"
    mixed = good(PUBLISHER)
    mixed["signatures"].append({"keyid": PUBLISHER2.id, "sig": b64(bytes(64))})
    yield case(
        "one-good-one-bad",
        "an invalid signature by a known key, next to a valid one",
        mixed,
        "signature_invalid",
        keys=TWO,
        attack=attack,
    )
