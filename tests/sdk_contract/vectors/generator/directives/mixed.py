"""Family `directive`: genuine parts that do not belong together, wrong options, invalid fields."""

from tests.sdk_contract.vectors.generator.directives.responses import (
    GOOD,
    REQUEST,
    case,
    directive,
    edited,
    full,
    offer,
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


def cases():
    yield from mixed()
    yield from rollbacks()
    yield from options()
    yield from malformed()


def mixed():
    attack = "mix_and_match"
    yield case(
        "no-manifest",
        "an offer without its manifest",
        edited(offer(), lambda a: a.pop("manifest")),
        "wrong_manifest",
        attack=attack,
    )
    other = offer(manifest(6))["manifest"]
    yield case(
        "other-manifest",
        "a genuine manifest that the directive does not name",
        edited(offer(), lambda a: a.update(manifest=other)),
        "wrong_manifest",
        attack=attack,
    )
    unnamed = offer(order={"manifest_sha256": None})
    yield case("no-digest", "a directive that names no manifest", unnamed, "wrong_manifest", attack=attack)
    yield case(
        "manifest-of-other-model",
        "a genuine manifest of another model",
        offer(manifest(model="other")),
        "wrong_model",
        attack=attack,
    )
    yield case(
        "unknown-variant",
        "a variant that the manifest does not have",
        offer(order={"variant": "int2"}),
        "wrong_variant",
        attack="wrong_software",
    )
    yield case(
        "no-variant",
        "a directive without a variant",
        offer(order={"variant": None}),
        "wrong_variant",
        attack="wrong_software",
    )
    yield case(
        "variant-case",
        "variant names are compared as bytes",
        offer(order={"variant": "Default"}),
        "wrong_variant",
        attack="wrong_software",
    )
    names = manifest(variants=[variant(component("a"), component("a", path="b.bin"))])
    yield case(
        "same-name-twice", "two components with the same name", offer(names), "mixed_versions", attack=attack
    )
    paths = manifest(variants=[variant(component("a"), component("b", path="a.bin"))])
    yield case(
        "same-path-twice", "two components with the same path", offer(paths), "mixed_versions", attack=attack
    )
    yield case(
        "component-missing",
        "the version lacks a component that the device wants",
        offer(),
        "mixed_versions",
        attack=attack,
        wanted_components=["backbone", "audio"],
    )


def rollbacks():
    yield case(
        "older", "older than the running version", offer(manifest(3)), "rollback_refused", attack="rollback"
    )
    yield case(
        "plain-rollback",
        "only the unsigned action says rollback",
        offer(manifest(3), plain={"action": "rollback"}),
        "rollback_refused",
        attack="rollback",
    )
    ordered = {"action": "rollback", "reason": "rollback"}
    yield case(
        "below-floor",
        "a rollback below the floor",
        offer(manifest(3), order=ordered),
        "rollback_refused",
        attack="rollback",
        floor=4,
    )
    yield case(
        "below-floor-first",
        "below the floor on a device without a version",
        offer(manifest(3)),
        "rollback_refused",
        attack="rollback",
        floor=4,
        current_counter=None,
    )
    yield case(
        "replayed-rollback",
        "an order to roll back for an earlier poll",
        offer(manifest(3), order={**ordered, "nonce": "n0nce-of-yesterday-000000"}),
        "wrong_nonce",
        attack="rollback",
    )


def options():
    part = component()
    only_full = {**GOOD, "options": {"backbone": ["full"]}}
    none_left = {**GOOD, "options": {"backbone": []}}

    def skipping(name, comment, option, code, attack="mix_and_match"):
        return case(
            f"option-{name}",
            comment,
            offer(options={"backbone": [option, full(part)]}),
            {**only_full, "skipped": [code]},
            attack=attack,
        )

    yield skipping(
        "patch-by-director",
        "a descriptor signed by the director",
        patch(part, key=DIRECTOR),
        "unknown_key",
        "key_compromise",
    )
    yield skipping(
        "patch-by-stranger",
        "a descriptor signed by a stranger",
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
        "a patch to a file of another size",
        patch(part, target={"sha256": part["sha256"], "size": 1 << 50}),
        "mixed_versions",
        "endless_data",
    )
    yield skipping(
        "patch-other-bytes",
        "an option for another patch than was signed",
        patch(part, option={"sha256": sha(b"x")}),
        "mixed_versions",
        "malicious_mirror",
    )
    yield skipping(
        "patch-other-size",
        "an option with another size than was signed",
        patch(part, option={"size": 1 << 50}),
        "mixed_versions",
        "endless_data",
    )
    yield skipping(
        "patch-no-descriptor",
        "a patch without a descriptor",
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
        "patch-relabelled",
        "an option with another format than was signed",
        patch(part, format="bsdiff40"),
        "mixed_versions",
    )
    yield skipping(
        "patch-unknown-format",
        "an unknown format",
        patch(part, option={"format": "glp9"}),
        "mixed_versions",
    )
    yield skipping(
        "patch-malformed",
        "a malformed descriptor, correctly signed",
        patch(part, working_set=-1),
        "malformed",
        "parser_differences",
    )
    lie = {**full(part), "sha256": sha(b"other")}
    yield case(
        "option-full-elsewhere",
        "a whole file that is not the manifest's",
        offer(options={"backbone": [lie]}),
        {**none_left, "skipped": ["mixed_versions"]},
        attack="malicious_mirror",
    )
    endless = {**full(part), "size": 1 << 50}
    yield case(
        "option-full-other-size",
        "a whole file with another size",
        offer(options={"backbone": [endless]}),
        {**none_left, "skipped": ["mixed_versions"]},
        attack="endless_data",
    )
    foreign = edited(
        offer(), lambda a: a["downloads"].append({**a["downloads"][0], "name": "evil", "path": "../evil"})
    )
    yield case(
        "option-foreign-component",
        "a download that the manifest does not name is ignored",
        foreign,
        GOOD,
        attack="arbitrary_software",
    )


def malformed():
    base, attack = directive(sha(encode(manifest()))), "parser_differences"
    broken = {
        "unknown-field": {**base, "color": "blue"},
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
        yield case(
            f"malformed-{name}",
            f"correctly signed, malformed: {name.replace('-', ' ')}",
            response,
            "malformed",
            attack=attack,
        )
    twice = encode(base)[:-1] + b',"action":"none"}'
    response = edited(offer(), lambda a: a.update(directive=sealed(twice, DIRECTIVE, DIRECTOR)))
    yield case("malformed-two-actions", "correctly signed, two actions", response, "malformed", attack=attack)
    huge = edited(
        offer(),
        lambda a: a.update(directive=sealed({**base, "ext": {"x": "a" * 16384}}, DIRECTIVE, DIRECTOR)),
    )
    yield case("oversize", "more than 16 KiB", huge, "oversize", attack="endless_data")
    empty = edited(offer(), lambda a: a.update(directive={}))
    yield case("no-envelope", "a response without a directive", empty, "malformed", attack="freeze")
    half = edited(offer(), lambda a: a["directive"].update(note=float("nan")))
    yield case("nan-beside", "NaN in the envelope", half, "malformed", attack=attack)
