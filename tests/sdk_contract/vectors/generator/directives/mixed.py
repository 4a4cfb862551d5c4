"""Family `directive`: genuine parts that do not belong together, options that lead elsewhere, fields that are none."""

from tests.sdk_contract.vectors.generator.directives.responses import (
    GOOD,
    REQUEST,
    directive,
    edited,
    full,
    offer,
    one,
    patch,
)
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTIVE,
    DIRECTOR,
    STRANGER,
    encode,
    sealed,
    sha,
)
from tests.sdk_contract.vectors.generator.manifests import component, manifest, variant


def mixed():
    attack = "mix_and_match"
    yield one(
        "no-manifest",
        "an order without a manifest",
        edited(offer(), lambda a: a.pop("manifest")),
        "wrong_manifest",
        attack=attack,
    )
    other = offer(manifest(6))["manifest"]
    yield one(
        "other-manifest",
        "a genuine manifest that was not named",
        edited(offer(), lambda a: a.update(manifest=other)),
        "wrong_manifest",
        attack=attack,
    )
    unnamed = offer(order={"manifest_sha256": None})
    yield one("no-digest", "an order that names no manifest", unnamed, "wrong_manifest", attack=attack)
    yield one(
        "manifest-of-other-model",
        "a genuine manifest of another model",
        offer(manifest(model="other")),
        "wrong_model",
        attack=attack,
    )
    yield one(
        "unknown-variant",
        "a variant that the manifest has not",
        offer(order={"variant": "int2"}),
        "wrong_variant",
        attack="wrong_software",
    )
    yield one(
        "no-variant",
        "no variant at all",
        offer(order={"variant": None}),
        "wrong_variant",
        attack="wrong_software",
    )
    yield one(
        "variant-case",
        "names are compared as bytes",
        offer(order={"variant": "Default"}),
        "wrong_variant",
        attack="wrong_software",
    )
    names = manifest(variants=[variant(component("a"), component("a", path="b.bin"))])
    yield one("same-name-twice", "two components of one name", offer(names), "mixed_versions", attack=attack)
    paths = manifest(variants=[variant(component("a"), component("b", path="a.bin"))])
    yield one("same-path-twice", "two components for one file", offer(paths), "mixed_versions", attack=attack)
    yield one(
        "component-missing",
        "the version lacks a component that the device wants",
        offer(),
        "mixed_versions",
        attack=attack,
        wanted_components=["backbone", "audio"],
    )


def backwards():
    yield one("older", "older than what runs", offer(manifest(3)), "rollback_refused", attack="rollback")
    yield one(
        "plain-rollback",
        "only the plain field says roll back",
        offer(manifest(3), plain={"action": "rollback"}),
        "rollback_refused",
        attack="rollback",
    )
    ordered = {"action": "rollback", "reason": "rollback"}
    yield one(
        "below-floor",
        "below the floor, by order",
        offer(manifest(3), order=ordered),
        "rollback_refused",
        attack="rollback",
        floor=4,
    )
    yield one(
        "below-floor-first",
        "below the floor, on an empty device",
        offer(manifest(3)),
        "rollback_refused",
        attack="rollback",
        floor=4,
        current_counter=None,
    )
    yield one(
        "replayed-rollback",
        "an order to go back from another day",
        offer(manifest(3), order={**ordered, "nonce": "n0nce-of-yesterday-000000"}),
        "wrong_nonce",
        attack="rollback",
    )


def options():
    part = component()
    only_full = {**GOOD, "options": {"backbone": ["full"]}}
    none_left = {**GOOD, "options": {"backbone": []}}

    def skipping(name, comment, option, code, attack="mix_and_match"):
        return one(
            f"option-{name}",
            comment,
            offer(options={"backbone": [option, full(part)]}),
            {**only_full, "skipped": [code]},
            attack=attack,
        )

    yield skipping(
        "patch-by-director",
        "the director is no patcher",
        patch(part, key=DIRECTOR),
        "unknown_key",
        "key_compromise",
    )
    yield skipping(
        "patch-by-stranger",
        "nor is a stranger",
        patch(part, key=STRANGER),
        "unknown_key",
        "arbitrary_software",
    )
    yield skipping(
        "patch-elsewhere",
        "a genuine patch to another file",
        patch(part, target={"sha256": sha(b"x"), "size": part["size"]}),
        "mixed_versions",
    )
    yield skipping(
        "patch-other-target-size",
        "to a file of another size",
        patch(part, target={"sha256": part["sha256"], "size": 1 << 50}),
        "mixed_versions",
        "endless_data",
    )
    yield skipping(
        "patch-other-bytes",
        "the address serves another patch",
        patch(part, option={"sha256": sha(b"x")}),
        "mixed_versions",
        "malicious_mirror",
    )
    yield skipping(
        "patch-other-size",
        "or one of another size",
        patch(part, option={"size": 1 << 50}),
        "mixed_versions",
        "endless_data",
    )
    yield skipping(
        "patch-no-descriptor",
        "an unsigned patch",
        patch(part, option={"descriptor": None}),
        "mixed_versions",
        "arbitrary_software",
    )
    yield skipping(
        "patch-no-index",
        "a descriptor without an index digest",
        patch(part, index_sha256=None),
        "mixed_versions",
    )
    yield skipping(
        "patch-relabelled", "another format than was signed", patch(part, format="bsdiff40"), "mixed_versions"
    )
    yield skipping(
        "patch-unknown-format",
        "a format of the future",
        patch(part, option={"format": "glp9"}),
        "mixed_versions",
    )
    yield skipping(
        "patch-malformed",
        "well signed, and malformed",
        patch(part, working_set=-1),
        "malformed",
        "parser_differences",
    )
    lie = {**full(part), "sha256": sha(b"other")}
    yield one(
        "option-full-elsewhere",
        "a whole file that is not the manifest's",
        offer(options={"backbone": [lie]}),
        {**none_left, "skipped": ["mixed_versions"]},
        attack="malicious_mirror",
    )
    endless = {**full(part), "size": 1 << 50}
    yield one(
        "option-full-other-size",
        "of another size",
        offer(options={"backbone": [endless]}),
        {**none_left, "skipped": ["mixed_versions"]},
        attack="endless_data",
    )
    foreign = edited(
        offer(), lambda a: a["downloads"].append({**a["downloads"][0], "name": "evil", "path": "../evil"})
    )
    yield one(
        "option-foreign-component",
        "a download that the manifest does not have is not looked at",
        foreign,
        GOOD,
        attack="arbitrary_software",
    )


def malformed():
    base, attack = directive(sha(encode(manifest()))), "parser_differences"
    broken = {
        "unknown-field": {**base, "colour": "blue"},
        "unknown-action": {**base, "action": "format_disk"},
        "no-action": {key: value for key, value in base.items() if key != "action"},
        "no-expiry": {key: value for key, value in base.items() if key != "expires"},
        "no-nonce-type": {**base, "nonce": 7},
        "device-list": {**base, "device_id": ["dev-1"]},
        "next-poll-negative": {**base, "next_poll_s": -1},
        "next-poll-years": {**base, "next_poll_s": 10**9},
        "next-poll-string": {**base, "next_poll_s": "3600"},
        "issued-9999": {**base, "issued": "9999-12-31T23:59:59Z", "expires": "9999-12-31T23:59:59Z"},
        "issued-30-february": {**base, "issued": "2026-02-30T00:00:00Z"},
        "digest-upper-case": {**base, "request_sha256": sha(REQUEST).upper()},
        "attempt-long": {**base, "attempt_id": "a" * 65},
    }
    for name, value in broken.items():
        response = edited(
            offer(), lambda a, value=value: a.update(directive=sealed(value, DIRECTIVE, DIRECTOR))
        )
        yield one(
            f"malformed-{name}",
            f"well signed, and {name.replace('-', ' ')}",
            response,
            "malformed",
            attack=attack,
        )
    twice = encode(base)[:-1] + b',"action":"none"}'
    response = edited(offer(), lambda a: a.update(directive=sealed(twice, DIRECTIVE, DIRECTOR)))
    yield one("malformed-two-actions", "well signed, with two actions", response, "malformed", attack=attack)
    huge = edited(
        offer(),
        lambda a: a.update(directive=sealed({**base, "ext": {"x": "a" * 16384}}, DIRECTIVE, DIRECTOR)),
    )
    yield one("oversize", "more than 16 KiB", huge, "oversize", attack="endless_data")
    empty = edited(offer(), lambda a: a.update(directive={}))
    yield one("no-envelope", "no directive at all", empty, "malformed", attack="freeze")
    half = edited(offer(), lambda a: a["directive"].update(note=float("nan")))
    yield one("nan-beside", "a number that is none, in the envelope", half, "malformed", attack=attack)
