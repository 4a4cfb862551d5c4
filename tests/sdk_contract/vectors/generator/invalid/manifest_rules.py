"""Family `manifest`: well-formed manifests that a device refuses, and how far a floor may rise."""

from tests.sdk_contract.vectors.generator.keys import (
    DIRECTIVE,
    DIRECTOR,
    PATCHER,
    PUBLISHER,
    ROOT,
    STRANGER,
    b64,
    encode,
    sealed,
)
from tests.sdk_contract.vectors.generator.manifests import TWO, case, manifest, signed


def cases():
    yield from refused_counters()
    yield from expired_manifests()
    yield from wrong_signers()
    yield from wrong_types_and_contents()
    yield from allowed_floors()
    yield from excessive_floors()


def refused_counters():
    yield case("older", "counter 3 after 4", signed(manifest(3)), "rollback_refused", attack="rollback")
    yield case(
        "below-floor",
        "the counter is below the device's floor",
        signed(manifest()),
        "rollback_refused",
        floor=6,
        attack="rollback",
    )
    yield case(
        "below-floor-first",
        "below the floor on a device without a version",
        signed(manifest()),
        "rollback_refused",
        floor=6,
        current=None,
        attack="rollback",
    )
    yield case(
        "below-floor-ordered",
        "below the floor, and a directive orders it",
        signed(manifest(3)),
        "rollback_refused",
        floor=4,
        rollback_ordered=True,
        attack="rollback",
    )
    yield case(
        "below-own-floor",
        "the counter is below the manifest's own floor",
        signed(manifest(floor=6)),
        "rollback_refused",
        attack="rollback",
    )


def expired_manifests():
    yield case(
        "expired",
        "at the moment of expiry",
        signed(manifest()),
        "expired",
        now="2027-02-20T00:00:00Z",
        attack="freeze",
    )
    yield case(
        "long-expired",
        "a year after expiry",
        signed(manifest()),
        "expired",
        now="2028-02-20T00:00:00Z",
        attack="freeze",
    )
    yield case(
        "expired-and-ordered",
        "expired, and a directive orders it",
        signed(manifest(3)),
        "expired",
        rollback_ordered=True,
        now="2028-02-20T00:00:00Z",
        attack="freeze",
    )


def wrong_signers():
    for name, key in (("director", DIRECTOR), ("patcher", PATCHER), ("root", ROOT), ("stranger", STRANGER)):
        attack = "arbitrary_software" if key is STRANGER else "key_compromise"
        yield case(
            f"by-{name}", f"signed by the {name}", signed(manifest(), key), "unknown_key", attack=attack
        )
    yield case(
        "one-of-two",
        "signed by one publisher where two are required",
        signed(manifest(), PUBLISHER),
        "threshold_not_met",
        trust=TWO,
        attack="key_compromise",
    )
    yield case(
        "one-twice",
        "signed by one publisher twice where two are required",
        signed(manifest(), PUBLISHER, PUBLISHER),
        "threshold_not_met",
        trust=TWO,
        attack="key_compromise",
    )


def wrong_types_and_contents():
    yield case(
        "a-directive",
        "a directive signed by the publisher",
        sealed(manifest(), DIRECTIVE, PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    other = {**signed(manifest()), "payload": b64(encode(manifest(6)))}
    yield case(
        "counter-changed",
        "the counter was changed after signing",
        other,
        "signature_invalid",
        attack="fast_forward",
    )
    yield case(
        "counter-2-53",
        "a counter of 2^53",
        signed(manifest(2**53)),
        "malformed",
        attack="fast_forward",
    )
    yield case(
        "oversize",
        "more than 64 KiB",
        signed(manifest(ext={"x": "a" * 65536})),
        "oversize",
        attack="endless_data",
    )


def allowed_floors():
    far = 2**31
    yield case("floor-leaps", "the floor rises by 2^31", signed(manifest(far, floor=far)), far)
    yield case(
        "floor-leaps-from-another",
        "the floor rises by 2^31 above the remembered one",
        signed(manifest(far + 3, floor=far + 3)),
        far + 3,
        floor=3,
    )


def excessive_floors():
    beyond = 2**31 + 1
    yield case(
        "floor-leaps-too-far",
        "the floor rises by 2^31 + 1",
        signed(manifest(beyond, floor=beyond)),
        "fast_forward",
        attack="fast_forward",
    )
    yield case(
        "floor-leaps-first",
        "the floor rises by 2^31 + 1 on a device without a version",
        signed(manifest(beyond, floor=beyond)),
        "fast_forward",
        current=None,
        attack="fast_forward",
    )
    yield case(
        "floor-leaps-to-the-end",
        "the largest floor, with an equally high running counter",
        signed(manifest(2**53 - 1, floor=2**53 - 1)),
        "fast_forward",
        current=2**53 - 1,
        attack="fast_forward",
    )
    yield case(
        "floor-leaps-ordered",
        "the floor rises by 2^31 + 1, and a directive orders a rollback",
        signed(manifest(beyond, floor=beyond)),
        "fast_forward",
        current=2**40,
        rollback_ordered=True,
        attack="fast_forward",
    )
