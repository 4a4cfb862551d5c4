"""Family `directive`: genuine parts that do not belong together, and refused rollbacks."""

from tests.sdk_contract.vectors.generator.directives.responses import (
    case,
    edited,
    offer,
)
from tests.sdk_contract.vectors.generator.manifests import component, manifest, variant


def cases():
    yield from wrong_manifests()
    yield from wrong_variants()
    yield from wrong_components()
    yield from rollbacks()


def wrong_manifests():
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


def wrong_variants():
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


def wrong_components():
    attack = "mix_and_match"
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
