"""Family `directive`: responses with one fault: for another poll, expired, or forged."""

from tests.sdk_contract.vectors.generator.directives.responses import (
    GOOD,
    NONCE,
    NOTHING,
    REQUEST,
    case,
    directive,
    edited,
    nothing,
    offer,
)
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTOR,
    PATCHER,
    PUBLISHER,
    ROOT,
    STRANGER,
    TRUST,
    b64,
    encode,
    sealed,
    sha,
)
from tests.sdk_contract.vectors.generator.manifests import manifest
from tests.sdk_contract.vectors.generator.trust import bundle


def cases():
    yield from wrong_devices()
    yield from wrong_nonces()
    yield from wrong_requests()
    yield from wrong_models()
    yield from expired_directives()
    yield from expired_manifests()
    yield from expired_trust_bundles()
    yield from back_dated_directives()
    yield from forged_directives()
    yield from forged_manifests()
    yield from changed_directives()


def wrong_devices():
    yield case(
        "other-device",
        "a genuine directive for another device",
        offer(order={"device_id": "dev-2"}),
        "wrong_device",
        attack="replay",
    )
    yield case(
        "other-device-none",
        "a directive without an offer for another device",
        nothing(device_id="dev-2"),
        "wrong_device",
        attack="replay",
    )
    yield case(
        "other-device-case",
        "device ids are compared as bytes",
        nothing(device_id="DEV-1"),
        "wrong_device",
        attack="replay",
    )


def wrong_nonces():
    yield case(
        "other-nonce",
        "the nonce of an earlier poll",
        offer(order={"nonce": "n0nce-of-yesterday-000000"}),
        "wrong_nonce",
        attack="freeze",
    )
    yield case(
        "other-nonce-none",
        "the nonce of an earlier poll, without an offer",
        nothing(nonce="n0nce-of-yesterday-000000"),
        "wrong_nonce",
        attack="freeze",
    )
    yield case("no-nonce", "an empty nonce", nothing(nonce=""), "wrong_nonce", attack="freeze")
    yield case(
        "nonce-prefix", "a prefix of the nonce", nothing(nonce=NONCE[:22]), "wrong_nonce", attack="freeze"
    )


def wrong_requests():
    yield case(
        "other-request",
        "made for other request bytes",
        offer(order={"request_sha256": sha(b"other")}),
        "wrong_request",
        attack="replay",
    )
    blank = REQUEST.replace(b": ", b":")
    yield case(
        "request-respelled",
        "made for the same fields in other bytes",
        offer(),
        "wrong_request",
        attack="replay",
        request=blank,
    )


def wrong_models():
    yield case(
        "other-model",
        "for another model",
        offer(order={"model": "other"}),
        "wrong_model",
        attack="mix_and_match",
    )
    yield case(
        "other-model-none",
        "for another model, without an offer",
        nothing(model="other"),
        "wrong_model",
        attack="mix_and_match",
    )


def expired_directives():
    yield case(
        "directive-expired",
        "the response took longer than the directive's lifetime",
        offer(),
        "expired",
        attack="freeze",
        elapsed_s=3600.0,
    )
    yield case(
        "directive-expired-none",
        "the same without an offer",
        nothing(),
        "expired",
        attack="freeze",
        elapsed_s=4000.0,
    )
    yield case(
        "directive-slow-but-good",
        "a slow response within the directive's lifetime",
        offer(),
        GOOD,
        elapsed_s=3599.0,
    )
    yield case(
        "directive-dead-on-arrival",
        "expired when it was issued",
        nothing(expires="2026-12-01T12:00:00Z"),
        "expired",
        attack="freeze",
    )


def expired_manifests():
    old = manifest(expires="2026-12-01T11:59:59Z")
    yield case("manifest-expired", "an expired manifest", offer(old), "expired", attack="freeze")
    yield case(
        "manifest-expired-clock-slow",
        "an expired manifest and a slow clock",
        offer(old),
        "expired",
        attack="freeze",
        now="2001-01-01T00:00:00Z",
    )


def expired_trust_bundles():
    stale = sealed(bundle(expires="2026-12-01T00:00:00Z"), TRUST, ROOT)
    yield case("trust-expired", "an expired trust bundle", offer(), "expired", attack="freeze", trust=stale)
    yield case(
        "trust-expired-none", "an expired trust bundle, without an offer", nothing(), NOTHING, trust=stale
    )


def back_dated_directives():
    past = offer(
        manifest(expires="2026-06-01T00:00:00Z"),
        order={"issued": "2026-01-01T00:00:00Z", "expires": "2026-01-01T01:00:00Z"},
    )
    yield case(
        "back-dated",
        "a back-dated directive by a stolen key; the newest signature that the device remembers counts",
        past,
        "expired",
        attack="freeze",
        newest_issued="2026-11-30T00:00:00Z",
        now="2001-01-01T00:00:00Z",
    )


def forged_directives():
    for name, key, attack in (
        ("stranger", STRANGER, "arbitrary_software"),
        ("publisher", PUBLISHER, "key_compromise"),
        ("patcher", PATCHER, "key_compromise"),
        ("root", ROOT, "key_compromise"),
    ):
        yield case(
            f"directive-by-{name}", f"signed by the {name}", offer(director=key), "unknown_key", attack=attack
        )
    yield case(
        "none-by-stranger",
        "a directive without an offer, signed by a stranger",
        nothing(director=STRANGER),
        "unknown_key",
        attack="freeze",
    )


def forged_manifests():
    for name, key, attack in (
        ("stranger", STRANGER, "arbitrary_software"),
        ("director", DIRECTOR, "key_compromise"),
        ("patcher", PATCHER, "key_compromise"),
    ):
        yield case(
            f"manifest-by-{name}",
            f"a manifest by the {name}",
            offer(publisher=key),
            "unknown_key",
            attack=attack,
        )


def changed_directives():
    def change(response):
        envelope = response["directive"]
        envelope["payload"] = b64(encode(directive(sha(encode(manifest())), next_poll_s=1)))

    yield case(
        "directive-changed",
        "one field changed",
        edited(offer(), change),
        "signature_invalid",
        attack="arbitrary_software",
    )

    def strip(response):
        response["directive"]["signatures"] = []

    yield case(
        "directive-unsigned",
        "an unsigned directive",
        edited(offer(), strip),
        "unknown_key",
        attack="arbitrary_software",
    )
    manifest_for_directive = edited(offer(), lambda a: a.update(directive=a["manifest"]["envelope"]))
    yield case(
        "manifest-as-directive",
        "a manifest in place of the directive",
        manifest_for_directive,
        "wrong_payload_type",
        attack="mix_and_match",
    )
