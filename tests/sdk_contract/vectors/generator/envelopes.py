"""Family `envelope`."""

from sdk_contract.envelope import pae
from tests.sdk_contract.vectors.generator.case import case
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTIVE,
    DIRECTOR,
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


def one(
    name, comment, envelope, expect=None, *, keys=ONE, threshold=1, attack=None, limit=4096, payload=PAYLOAD
):
    role = {"threshold": threshold, "keys": {keyid: b64(key.public_key) for keyid, key in keys}}
    data = envelope if isinstance(envelope, bytes) else encode(envelope)
    inputs = {"envelope": b64(data), "payload_type": MANIFEST, "role": role, "limit": limit}
    verdict = expect or {"payload_sha256": sha(payload)}
    return case(f"envelope.{name}", comment, inputs, verdict, attack=attack)


def good(*keys, payload=PAYLOAD):
    return sealed(payload, MANIFEST, *keys)


def with_signature(raw, key=PUBLISHER):
    return {**good(), "signatures": [{"keyid": key.id, "sig": b64(raw)}]}


def malleable():
    """S + L in place of S: the same equation, other bytes (RFC 8032 §5.1.7 forbids it)."""
    raw = PUBLISHER.sign(pae(MANIFEST, PAYLOAD))
    return raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")


def cases():
    yield from accepted()
    yield from forged()
    yield from thresholds()
    yield from malformed()


def accepted():
    yield one("one-signature", "one key, one signature", good(PUBLISHER))
    yield one("two-of-two", "both keys", good(PUBLISHER, PUBLISHER2), keys=TWO, threshold=2)
    yield one(
        "two-of-two-other-order", "order does not matter", good(PUBLISHER2, PUBLISHER), keys=TWO, threshold=2
    )
    yield one("one-of-two", "either key", good(PUBLISHER2), keys=TWO)
    yield one("stranger-beside", "a signature by an unknown key is no harm", good(STRANGER, PUBLISHER))
    yield one("empty-payload", "no bytes are bytes", good(PUBLISHER, payload=b""), payload=b"")
    yield one(
        "binary-payload",
        "the payload is not parsed here",
        good(PUBLISHER, payload=b"\0\xff"),
        payload=b"\0\xff",
    )
    yield one("float-in-payload", "nor judged", good(PUBLISHER, payload=b'{"a":1.5}'), payload=b'{"a":1.5}')
    yield one("unknown-member", "members that DSSE does not know", {**good(PUBLISHER), "note": "hello"})
    yield one("blanks", "blanks between tokens", encode(good(PUBLISHER)).replace(b",", b" ,\n"))
    exact = encode(good(PUBLISHER))
    yield one("at-limit", "exactly as long as allowed", exact, limit=len(exact))
    yield one(
        "same-signature-twice",
        "a voice heard twice is one voice, and one is enough",
        good(PUBLISHER, PUBLISHER),
    )


def forged():
    attack = "arbitrary_software"
    changed = {**good(PUBLISHER), "payload": b64(flip(PAYLOAD, 3))}
    yield one("payload-changed", "one bit of the payload", changed, "signature_invalid", attack=attack)
    longer = {**good(PUBLISHER), "payload": b64(PAYLOAD + b" ")}
    yield one("payload-longer", "one blank more", longer, "signature_invalid", attack=attack)
    raw = PUBLISHER.sign(pae(MANIFEST, PAYLOAD))
    yield one(
        "signature-changed", "one bit of R", with_signature(flip(raw)), "signature_invalid", attack=attack
    )
    yield one(
        "signature-changed-s",
        "one bit of S",
        with_signature(flip(raw, 40)),
        "signature_invalid",
        attack=attack,
    )
    yield one("signature-s-plus-l", "S + L", with_signature(malleable()), "signature_invalid", attack=attack)
    yield one("signature-zero", "64 zeros", with_signature(bytes(64)), "signature_invalid", attack=attack)
    yield one("signature-empty", "no bytes", with_signature(b""), "signature_invalid", attack=attack)
    yield one("signature-63", "one byte short", with_signature(raw[:63]), "signature_invalid", attack=attack)
    yield one(
        "signature-65", "one byte more", with_signature(raw + b"\0"), "signature_invalid", attack=attack
    )
    yield one(
        "no-pae",
        "over the payload alone",
        with_signature(PUBLISHER.sign(PAYLOAD)),
        "signature_invalid",
        attack=attack,
    )
    digest = PUBLISHER.sign(sha(PAYLOAD).encode())
    yield one(
        "over-digest",
        "over the digest of the payload",
        with_signature(digest),
        "signature_invalid",
        attack=attack,
    )
    yield one("stranger", "by a key of no role", good(STRANGER), "unknown_key", attack=attack)
    lie = {**good(), "signatures": [signature(STRANGER, pae(MANIFEST, PAYLOAD), PUBLISHER.id)]}
    yield one(
        "stranger-under-known-id", "a stranger who claims a known id", lie, "signature_invalid", attack=attack
    )
    shifted = sealed(MANIFEST[-1:].encode() + PAYLOAD, MANIFEST[:-1], PUBLISHER, label=MANIFEST)
    yield one(
        "type-and-payload-shifted",
        "a byte moved from the type to the payload",
        shifted,
        "signature_invalid",
        attack=attack,
    )
    spaces = b"DSSEv1 %d %s  %d %s" % (len(MANIFEST), MANIFEST.encode(), len(PAYLOAD), PAYLOAD)
    yield one(
        "pae-other-blanks",
        "another encoding before signing",
        with_signature(PUBLISHER.sign(spaces)),
        "signature_invalid",
        attack=attack,
    )
    other = sealed(PAYLOAD, DIRECTIVE, PUBLISHER)
    yield one(
        "other-type",
        "a genuine envelope of another kind",
        other,
        "wrong_payload_type",
        attack="mix_and_match",
    )
    relabelled = sealed(PAYLOAD, DIRECTIVE, PUBLISHER, label=MANIFEST)
    yield one(
        "other-type-relabelled", "and with our label", relabelled, "signature_invalid", attack="mix_and_match"
    )
    yield one(
        "type-other-case",
        "types are compared as bytes",
        sealed(PAYLOAD, MANIFEST.upper(), PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    yield one(
        "type-blank",
        "with a blank behind",
        sealed(PAYLOAD, MANIFEST + " ", PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    yield one(
        "type-v2",
        "a later version of the kind",
        sealed(PAYLOAD, MANIFEST.replace("v1", "v2"), PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    mixed = good(PUBLISHER)
    mixed["signatures"].append({"keyid": PUBLISHER2.id, "sig": b64(bytes(64))})
    yield one(
        "one-good-one-bad",
        "a known key's signature must fit, even beside enough others",
        mixed,
        "signature_invalid",
        keys=TWO,
        attack=attack,
    )


def thresholds():
    attack = "key_compromise"
    yield one(
        "one-of-needed-two",
        "one of two",
        good(PUBLISHER),
        "threshold_not_met",
        keys=TWO,
        threshold=2,
        attack=attack,
    )
    twice = good(PUBLISHER, PUBLISHER)
    yield one(
        "same-key-twice",
        "one key, two signatures",
        twice,
        "threshold_not_met",
        keys=TWO,
        threshold=2,
        attack=attack,
    )
    aliases = ((PUBLISHER.id, PUBLISHER), ("0" * 16, PUBLISHER))
    signed = {
        **good(),
        "signatures": [signature(PUBLISHER, pae(MANIFEST, PAYLOAD), keyid) for keyid, _ in aliases],
    }
    yield one(
        "same-key-two-ids",
        "one key under two ids is one voice",
        signed,
        "threshold_not_met",
        keys=aliases,
        threshold=2,
        attack=attack,
    )
    yield one(
        "stranger-does-not-count",
        "one known, one stranger",
        good(PUBLISHER, STRANGER),
        "threshold_not_met",
        keys=TWO,
        threshold=2,
        attack=attack,
    )
    yield one("no-signatures", "none", good(), "unknown_key", attack=attack)
    yield one(
        "threshold-zero",
        "a threshold of zero counts as one",
        good(),
        "unknown_key",
        threshold=0,
        attack=attack,
    )
    yield one(
        "threshold-zero-stranger",
        "and a stranger does not meet it",
        good(STRANGER),
        "unknown_key",
        threshold=0,
        attack=attack,
    )
    yield one(
        "other-role", "the director's key is no publisher's", good(DIRECTOR), "unknown_key", attack=attack
    )
    shouted = {**good(), "signatures": [signature(PUBLISHER, pae(MANIFEST, PAYLOAD), PUBLISHER.id.upper())]}
    yield one("key-id-other-case", "ids are compared as bytes", shouted, "unknown_key", attack=attack)
    crowd = {**good(PUBLISHER), "signatures": good(PUBLISHER)["signatures"] * 17}
    yield one("seventeen-signatures", "at most 16", crowd, "malformed", attack="endless_data", limit=1 << 16)


def malformed():
    base, attack = good(PUBLISHER), "parser_differences"
    entry = base["signatures"][0]
    broken = {
        "no-payload": {key: base[key] for key in ("payloadType", "signatures")},
        "no-type": {key: base[key] for key in ("payload", "signatures")},
        "no-signature-list": {key: base[key] for key in ("payload", "payloadType")},
        "payload-number": {**base, "payload": 7},
        "payload-null": {**base, "payload": None},
        "type-number": {**base, "payloadType": 7},
        "signatures-object": {**base, "signatures": {"keyid": entry["keyid"], "sig": entry["sig"]}},
        "signature-list": {**base, "signatures": [[entry["keyid"], entry["sig"]]]},
        "signature-without-keyid": {**base, "signatures": [{"sig": entry["sig"]}]},
        "signature-without-sig": {**base, "signatures": [{"keyid": entry["keyid"]}]},
        "keyid-number": {**base, "signatures": [{**entry, "keyid": 7}]},
        "sig-null": {**base, "signatures": [{**entry, "sig": None}]},
        "list": [base],
        "string": "hello",
        "null": None,
        "base64url": {**base, "payload": b64(b"\xfb\xff").replace("+", "-").replace("/", "_")},
        "base64-no-padding": {**base, "payload": b64(PAYLOAD).rstrip("=")},
        "base64-line-break": {**base, "payload": b64(PAYLOAD)[:8] + "\n" + b64(PAYLOAD)[8:]},
        "base64-stray-bits": {**base, "payload": "QR=="},
        "base64-blank": {**base, "payload": b64(PAYLOAD) + " "},
        "base64-not-ascii": {**base, "payload": "雁雁雁雁"},
    }
    for name, value in broken.items():
        yield one(
            f"malformed-{name}",
            f"not an envelope: {name.replace('-', ' ')}",
            value,
            "malformed",
            attack=attack,
        )
    text = encode(base)
    twice = text[:-1] + b',"payload":"AAAA"}'
    yield one("malformed-two-payloads", "which one is meant?", twice, "malformed", attack=attack)
    yield one("malformed-float", "a float anywhere", text[:-1] + b',"x":1.0}', "malformed", attack=attack)
    yield one(
        "malformed-deep",
        "nine levels",
        text[:-1] + b',"x":' + b"[" * 8 + b"]" * 8 + b"}",
        "malformed",
        attack="endless_data",
    )
    yield one("malformed-cut", "cut short", text[:-9], "malformed", attack=attack)
    yield one("malformed-trailing", "bytes behind", text + b"x", "malformed", attack=attack)
    yield one("malformed-empty", "nothing", b"", "malformed", attack=attack)
    yield one("oversize", "one byte too long", text, "oversize", attack="endless_data", limit=len(text) - 1)
