"""Family `manifest`."""

from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTIVE,
    DIRECTOR,
    MANIFEST,
    PATCHER,
    PUBLISHER,
    PUBLISHER2,
    ROOT,
    STRANGER,
    TRUST,
    b64,
    encode,
    sealed,
    sha,
)
from tests.sdk_contract.vectors.generator.trust import V1, bundle

NOW = "2026-12-01T12:00:00Z"
TWO = sealed(bundle(roles={"publisher": (PUBLISHER, PUBLISHER2)}, thresholds={"publisher": 2}), TRUST, ROOT)


def component(name="backbone", **fields):
    data = f"content of {name}".encode()
    return {"name": name, "path": f"{name}.bin", "size": len(data), "sha256": sha(data), **fields}


def variant(*components, name="default", **fields):
    return {"name": name, "components": list(components) or [component()], **fields}


def manifest(counter=5, **fields):
    return {
        "model": "demo",
        "version": f"v{counter}",
        "counter": counter,
        "variants": [variant()],
        "issued": "2026-11-20T00:00:00Z",
        "expires": "2027-02-20T00:00:00Z",
        **fields,
    }


def signed(value, *keys):
    return sealed(value, MANIFEST, *(keys or (PUBLISHER,)))


def case(
    name,
    comment,
    envelope,
    expect,
    *,
    attack=None,
    current=4,
    floor=0,
    rollback_ordered=False,
    now=NOW,
    trust=V1,
):
    state = {
        "current_counter": current,
        "floor": floor,
        "rollback_ordered": rollback_ordered,
        "newest_issued": "",
    }
    data = envelope if isinstance(envelope, bytes) else encode(envelope)
    inputs = {"trust": b64(encode(trust)), "envelope": b64(data)}
    result = expect if isinstance(expect, str) else {"version": f"v{expect}", "counter": expect}
    return make_case(f"manifest.{name}", comment, inputs, result, attack=attack, now=now, state=state)


def cases():
    yield from accepted()
    yield from refused()
    yield from floors()


def accepted():
    yield case("newer", "counter 5 after 4", signed(manifest()), 5)
    yield case("first", "the first version of a device", signed(manifest()), 5, current=None)
    yield case("same-counter", "the running version again", signed(manifest(4)), 4)
    yield case("counter-zero", "counters begin at 0", signed(manifest(0)), 0, current=None)
    yield case("largest-counter", "2^53 - 1", signed(manifest(2**53 - 1)), 2**53 - 1)
    yield case("at-floor", "the counter equals the device's floor", signed(manifest()), 5, floor=5)
    yield case("own-floor", "the counter equals the manifest's own floor", signed(manifest(floor=5)), 5)
    yield case(
        "ordered-back",
        "an older version that a directive orders",
        signed(manifest(3)),
        3,
        rollback_ordered=True,
    )
    yield case(
        "ordered-back-to-floor",
        "a rollback to the floor",
        signed(manifest(3)),
        3,
        floor=3,
        rollback_ordered=True,
    )
    yield case(
        "last-second", "one second before it expires", signed(manifest()), 5, now="2027-02-19T23:59:59Z"
    )
    yield case("two-publishers", "two of two", signed(manifest(), PUBLISHER, PUBLISHER2), 5, trust=TWO)
    rich = manifest(
        variants=[
            variant(
                component("vision", format="safetensors"),
                component("tokenizer"),
                name="int4",
                selector={"all": [{"attr": "ram_mb", "lt": 8192}]},
                priority=10,
            ),
            variant(),
        ],
        requires={"app": ">=5.2"},
        ext={"card": {"licence": "Apache-2.0"}},
    )
    yield case("rich", "several variants, a selector, requirements and extensions", signed(rich), 5)
    yield case(
        "empty-file",
        "an empty component",
        signed(manifest(variants=[variant(component(size=0, sha256=sha(b"")))])),
        5,
    )
    yield case("label-with-plus", "a label with build metadata", signed({**manifest(), "version": "v5"}), 5)


def floors():
    far, beyond = 2**31, 2**31 + 1
    yield case("floor-leaps", "the floor rises by 2^31", signed(manifest(far, floor=far)), far)
    yield case(
        "floor-leaps-from-another",
        "the floor rises by 2^31 above the remembered one",
        signed(manifest(far + 3, floor=far + 3)),
        far + 3,
        floor=3,
    )
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


def refused():
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
