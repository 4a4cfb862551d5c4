"""Family `envelope`: thresholds, and JSON that is not an envelope."""

from sdk_contract.envelope import pae
from tests.sdk_contract.vectors.generator.envelopes import PAYLOAD, TWO, case, good
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTOR,
    MANIFEST,
    PUBLISHER,
    STRANGER,
    b64,
    encode,
    signature,
)


def cases():
    yield from unmet_thresholds()
    yield from thresholds_of_zero()
    yield from unknown_keys()
    yield from too_many_signatures()
    yield from wrong_members()
    yield from wrong_base64()
    yield from wrong_bytes()


def unmet_thresholds():
    attack = "key_compromise"
    yield case(
        "one-of-needed-two",
        "one signature where two are required",
        good(PUBLISHER),
        "threshold_not_met",
        keys=TWO,
        threshold=2,
        attack=attack,
    )
    twice = good(PUBLISHER, PUBLISHER)
    yield case(
        "same-key-twice",
        "one key has signed twice where two are required",
        twice,
        "threshold_not_met",
        keys=TWO,
        threshold=2,
        attack=attack,
    )
    yield key_with_two_ids()
    yield case(
        "stranger-does-not-count",
        "one known key and one stranger where two are required",
        good(PUBLISHER, STRANGER),
        "threshold_not_met",
        keys=TWO,
        threshold=2,
        attack=attack,
    )


def key_with_two_ids():
    aliases = ((PUBLISHER.id, PUBLISHER), ("0" * 16, PUBLISHER))
    signed = {
        **good(),
        "signatures": [signature(PUBLISHER, pae(MANIFEST, PAYLOAD), keyid) for keyid, _ in aliases],
    }
    return case(
        "same-key-two-ids",
        "one key under two ids counts once",
        signed,
        "threshold_not_met",
        keys=aliases,
        threshold=2,
        attack="key_compromise",
    )


def thresholds_of_zero():
    attack = "key_compromise"
    yield case("no-signatures", "no signatures", good(), "unknown_key", attack=attack)
    yield case(
        "threshold-zero",
        "a threshold of zero requires one signature",
        good(),
        "unknown_key",
        threshold=0,
        attack=attack,
    )
    yield case(
        "threshold-zero-stranger",
        "a stranger does not meet a threshold of zero",
        good(STRANGER),
        "unknown_key",
        threshold=0,
        attack=attack,
    )


def unknown_keys():
    attack = "key_compromise"
    yield case(
        "other-role",
        "signed by the director's key instead of the publisher's",
        good(DIRECTOR),
        "unknown_key",
        attack=attack,
    )
    shouted = {**good(), "signatures": [signature(PUBLISHER, pae(MANIFEST, PAYLOAD), PUBLISHER.id.upper())]}
    yield case("key-id-other-case", "key ids are compared as bytes", shouted, "unknown_key", attack=attack)


def too_many_signatures():
    crowd = {**good(PUBLISHER), "signatures": good(PUBLISHER)["signatures"] * 17}
    yield case(
        "seventeen-signatures",
        "17 signatures; at most 16 are allowed",
        crowd,
        "malformed",
        attack="endless_data",
        limit=1 << 16,
    )


def malformed(name, comment, envelope, attack="parser_differences"):
    return case(f"malformed-{name}", comment, envelope, "malformed", attack=attack)


def wrong_members():
    base = good(PUBLISHER)
    entry = base["signatures"][0]
    yield from not_envelopes(
        {
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
        }
    )


def wrong_base64():
    base = good(PUBLISHER)
    yield from not_envelopes(
        {
            "base64url": {**base, "payload": b64(b"\xfb\xff").replace("+", "-").replace("/", "_")},
            "base64-no-padding": {**base, "payload": b64(PAYLOAD).rstrip("=")},
            "base64-line-break": {**base, "payload": b64(PAYLOAD)[:8] + "\n" + b64(PAYLOAD)[8:]},
            "base64-stray-bits": {**base, "payload": "QR=="},
            "base64-blank": {**base, "payload": b64(PAYLOAD) + " "},
            "base64-not-ascii": {**base, "payload": "雁雁雁雁"},
        }
    )


def not_envelopes(values_by_name):
    for name, value in values_by_name.items():
        yield malformed(name, f"not an envelope: {name.replace('-', ' ')}", value)


def wrong_bytes():
    text = encode(good(PUBLISHER))
    yield malformed("two-payloads", "two payload members", text[:-1] + b',"payload":"AAAA"}')
    yield malformed("float", "a float in the envelope", text[:-1] + b',"x":1.0}')
    deep = text[:-1] + b',"x":' + b"[" * 8 + b"]" * 8 + b"}"
    yield malformed("deep", "nine levels", deep, "endless_data")
    yield malformed("cut", "a truncated envelope", text[:-9])
    yield malformed("trailing", "bytes after the envelope", text + b"x")
    yield malformed("empty", "no bytes", b"")
    yield case("oversize", "one byte too long", text, "oversize", attack="endless_data", limit=len(text) - 1)
