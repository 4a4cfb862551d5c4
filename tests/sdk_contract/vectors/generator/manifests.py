"""Family `manifest`."""

from tests.sdk_contract.vectors.generator.case import case
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


def one(
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
    verdict = expect if isinstance(expect, str) else {"version": f"v{expect}", "counter": expect}
    return case(f"manifest.{name}", comment, inputs, verdict, attack=attack, now=now, state=state)


def cases():
    yield from accepted()
    yield from refused()
    yield from fields()
    yield from floors()


def accepted():
    yield one("newer", "counter 5 after 4", signed(manifest()), 5)
    yield one("first", "on a device with no version", signed(manifest()), 5, current=None)
    yield one("same-counter", "the version that runs, once more", signed(manifest(4)), 4)
    yield one("counter-zero", "counters begin at 0", signed(manifest(0)), 0, current=None)
    yield one("largest-counter", "2^53 - 1", signed(manifest(2**53 - 1)), 2**53 - 1)
    yield one("at-floor", "exactly at the device's floor", signed(manifest()), 5, floor=5)
    yield one("own-floor", "its floor is itself", signed(manifest(floor=5)), 5)
    yield one(
        "ordered-back", "older, and a directive orders it", signed(manifest(3)), 3, rollback_ordered=True
    )
    yield one(
        "ordered-back-to-floor", "not below the floor", signed(manifest(3)), 3, floor=3, rollback_ordered=True
    )
    yield one(
        "last-second", "one second before it expires", signed(manifest()), 5, now="2027-02-19T23:59:59Z"
    )
    yield one("two-publishers", "two of two", signed(manifest(), PUBLISHER, PUBLISHER2), 5, trust=TWO)
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
    yield one("rich", "variants, selector, requirements, extensions", signed(rich), 5)
    yield one(
        "empty-file",
        "a component of no bytes",
        signed(manifest(variants=[variant(component(size=0, sha256=sha(b"")))])),
        5,
    )
    yield one("label-with-plus", "build metadata in the label", signed({**manifest(), "version": "v5"}), 5)


def floors():
    far, beyond = 2**31, 2**31 + 1
    yield one("floor-leaps", "the floor rises by 2^31", signed(manifest(far, floor=far)), far)
    yield one(
        "floor-leaps-from-another",
        "by 2^31 above the floor that the device remembers",
        signed(manifest(far + 3, floor=far + 3)),
        far + 3,
        floor=3,
    )
    yield one(
        "floor-leaps-too-far",
        "by one more",
        signed(manifest(beyond, floor=beyond)),
        "fast_forward",
        attack="fast_forward",
    )
    yield one(
        "floor-leaps-first",
        "by one more, where nothing runs",
        signed(manifest(beyond, floor=beyond)),
        "fast_forward",
        current=None,
        attack="fast_forward",
    )
    yield one(
        "floor-leaps-to-the-end",
        "a floor that no counter is ever above, although the counter that runs is as high",
        signed(manifest(2**53 - 1, floor=2**53 - 1)),
        "fast_forward",
        current=2**53 - 1,
        attack="fast_forward",
    )
    yield one(
        "floor-leaps-ordered",
        "not even where a directive orders to go back",
        signed(manifest(beyond, floor=beyond)),
        "fast_forward",
        current=2**40,
        rollback_ordered=True,
        attack="fast_forward",
    )


def refused():
    yield one("older", "counter 3 after 4", signed(manifest(3)), "rollback_refused", attack="rollback")
    yield one(
        "below-floor",
        "older than the device's floor",
        signed(manifest()),
        "rollback_refused",
        floor=6,
        attack="rollback",
    )
    yield one(
        "below-floor-first",
        "even where nothing runs",
        signed(manifest()),
        "rollback_refused",
        floor=6,
        current=None,
        attack="rollback",
    )
    yield one(
        "below-floor-ordered",
        "even by order",
        signed(manifest(3)),
        "rollback_refused",
        floor=4,
        rollback_ordered=True,
        attack="rollback",
    )
    yield one(
        "below-own-floor",
        "a version that forbids itself",
        signed(manifest(floor=6)),
        "rollback_refused",
        attack="rollback",
    )
    yield one(
        "expired",
        "at its last moment",
        signed(manifest()),
        "expired",
        now="2027-02-20T00:00:00Z",
        attack="freeze",
    )
    yield one(
        "long-expired",
        "a year later",
        signed(manifest()),
        "expired",
        now="2028-02-20T00:00:00Z",
        attack="freeze",
    )
    yield one(
        "expired-and-ordered",
        "an order is no excuse",
        signed(manifest(3)),
        "expired",
        rollback_ordered=True,
        now="2028-02-20T00:00:00Z",
        attack="freeze",
    )
    for name, key in (("director", DIRECTOR), ("patcher", PATCHER), ("root", ROOT), ("stranger", STRANGER)):
        attack = "arbitrary_software" if key is STRANGER else "key_compromise"
        yield one(
            f"by-{name}", f"signed by the {name}", signed(manifest(), key), "unknown_key", attack=attack
        )
    yield one(
        "one-of-two",
        "one publisher of two",
        signed(manifest(), PUBLISHER),
        "threshold_not_met",
        trust=TWO,
        attack="key_compromise",
    )
    yield one(
        "one-twice",
        "one publisher, twice",
        signed(manifest(), PUBLISHER, PUBLISHER),
        "threshold_not_met",
        trust=TWO,
        attack="key_compromise",
    )
    yield one(
        "a-directive",
        "a publisher's directive",
        sealed(manifest(), DIRECTIVE, PUBLISHER),
        "wrong_payload_type",
        attack="mix_and_match",
    )
    other = {**signed(manifest()), "payload": b64(encode(manifest(6)))}
    yield one(
        "counter-changed",
        "another counter than was signed",
        other,
        "signature_invalid",
        attack="fast_forward",
    )
    yield one(
        "counter-2-53",
        "beyond what every library counts",
        signed(manifest(2**53)),
        "malformed",
        attack="fast_forward",
    )
    yield one(
        "oversize",
        "more than 64 KiB",
        signed(manifest(ext={"x": "a" * 65536})),
        "oversize",
        attack="endless_data",
    )


def fields():
    parts = {
        "path-parent": component(path="../evil"),
        "path-parent-inside": component(path="a/../../evil"),
        "path-absolute": component(path="/etc/passwd"),
        "path-folder": component(path="a/b"),
        "path-backslash": component(path="..\\evil"),
        "path-drive": component(path="C:evil"),
        "path-hidden": component(path=".bashrc"),
        "path-empty": component(path=""),
        "path-nul": component(path="a\0b"),
        "path-line-feed": component(path="a\n"),
        "path-long": component(path="a" * 129),
        "path-wide": component(path="ａ"),
        "name-empty": component(name=""),
        "name-slash": component(name="a/b"),
        "sha256-upper-case": component(sha256=sha(b"x").upper()),
        "sha256-short": component(sha256="ab"),
        "sha256-line-feed": component(sha256=sha(b"x") + "\n"),
        "size-negative": component(size=-1),
        "size-string": component(size="16"),
        "size-2-53": component(size=2**53),
        "size-true": component(size=True),
        "component-unknown-field": component(mode="0777"),
    }
    for name, part in parts.items():
        attack = (
            "endless_data"
            if name.startswith("size")
            else "arbitrary_software"
            if name.startswith("path")
            else "parser_differences"
        )
        yield one(
            f"malformed-{name}",
            f"well signed, and {name.replace('-', ' ')}",
            signed(manifest(variants=[variant(part)])),
            "malformed",
            attack=attack,
        )
    wholes = {
        "no-variants": manifest(variants=[]),
        "variants-65": manifest(variants=[variant(name=f"v{n}") for n in range(65)]),
        "same-variant-twice": manifest(variants=[variant(), variant(component("other"))]),
        "no-components": manifest(variants=[{"name": "default", "components": []}]),
        "unknown-field": manifest(colour="blue"),
        "counter-string": {**manifest(), "counter": "5"},
        "counter-null": {**manifest(), "counter": None},
        "counter-missing": {key: value for key, value in manifest().items() if key != "counter"},
        "floor-negative": manifest(floor=-1),
        "label-blank": {**manifest(), "version": "v 5"},
        "label-list": {**manifest(), "version": ["v5"]},
        "model-missing": {key: value for key, value in manifest().items() if key != "model"},
        "expires-13th-month": manifest(expires="2027-13-01T00:00:00Z"),
        "expires-9999": manifest(expires="9999-12-31T23:59:59Z"),
        "issued-1969": manifest(issued="1969-12-31T23:59:59Z"),
        "expires-fraction": manifest(expires="2027-02-20T00:00:00.5Z"),
        "requires-number": manifest(requires={"app": 5}),
        "list": [manifest()],
    }
    for name, value in wholes.items():
        yield one(
            f"malformed-{name}",
            f"well signed, and {name.replace('-', ' ')}",
            signed(value),
            "malformed",
            attack="parser_differences",
        )
    twice = encode(manifest())[:-1] + b',"counter":9}'
    yield one(
        "malformed-two-counters",
        "well signed, with two counters",
        signed(twice),
        "malformed",
        attack="parser_differences",
    )
    decimal = encode(manifest()).replace(b'"counter":5', b'"counter":5.0')
    yield one(
        "malformed-counter-float",
        "well signed, with a float",
        signed(decimal),
        "malformed",
        attack="parser_differences",
    )
    deep = manifest(ext={"a": [[[[[[[1]]]]]]]})
    yield one("malformed-deep", "well signed, nine levels", signed(deep), "malformed", attack="endless_data")
