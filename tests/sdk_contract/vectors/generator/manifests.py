"""Family `manifest`: accepted manifests."""

from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import (
    MANIFEST,
    PUBLISHER,
    PUBLISHER2,
    ROOT,
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
    yield from accepted_counters()
    yield from accepted_signatures_and_contents()


def accepted_counters():
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


def accepted_signatures_and_contents():
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
