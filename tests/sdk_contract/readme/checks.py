"""The checks of section 6 with the example's values, and for each a violation that must give its code."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from sdk_contract.documents import Manifest
from tests.sdk_contract.readme import example
from tests.sdk_contract.vectors.generator.keys import DIRECTOR, PUBLISHER, b64


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        rule: what the SDK compares.
        value: the example's value.
        code: error code if the rule is violated.
        violate: verifies a response that violates only this rule.
    """

    number: str
    rule: str
    value: str
    code: str
    violate: Callable[[], object]


def short(digest):
    return f"`{digest[:8]}...{digest[-4:]}`"


def with_directive(**fields):
    return lambda: example.verify(example.changed(**fields))


def with_state(**fields):
    return lambda: example.verify(example.response(), state=replace(example.STATE, **fields))


def with_manifest(**fields):
    """Another manifest, correctly signed, which the directive names."""

    def violate():
        other = Manifest(**{**vars(example.manifest()), **fields})
        poll_response = example.changed(manifest_sha256=example.sha(other.to_bytes()))
        poll_response["manifest"]["envelope"] = json.loads(other.sign([PUBLISHER]))
        return example.verify(poll_response)

    return violate


def with_broken_signature(find_envelope):
    def violate():
        poll_response = copy.deepcopy(example.response())
        find_envelope(poll_response)["signatures"][0]["sig"] = b64(bytes(64))
        return example.verify(poll_response)

    return violate


def with_option(index, **fields):
    def violate():
        poll_response = copy.deepcopy(example.response())
        poll_response["downloads"][0]["options"][index].update(fields)
        return example.verify(poll_response)

    return violate


def with_wanted_component():
    context = replace(example.poll_context(), wanted_components=["weights", "vision"])
    return example.verify(example.response(), context)


def checks():
    return [
        *checks_of_the_signed_order(),
        *checks_of_request_and_time(),
        *checks_of_the_manifest(),
        *checks_of_counter_and_floor(),
        *checks_of_variant_and_components(),
        *checks_of_options(),
    ]


def checks_of_the_signed_order():
    order, director = example.directive(), example.KEYS["director"].id
    return [
        Check(
            "1",
            "`directive` is an envelope that the director signed (section 2)",
            f"type `{type(order).payload_type}`, signed by `{director}`, which the trust bundle lists",
            "section 2",
            with_broken_signature(lambda poll_response: poll_response["directive"]),
        ),
        Check(
            "2",
            "its `device_id` is yours",
            f"`{order.device_id}`",
            "wrong_device",
            with_directive(device_id="speaker-0043"),
        ),
        Check(
            "3",
            "its `model` is the one that you run or asked for",
            f"`{order.model}`",
            "wrong_model",
            with_directive(model="vision"),
        ),
    ]


def checks_of_request_and_time():
    order = example.directive()
    return [
        Check(
            "4",
            "its `nonce` is the one of this poll; this makes it fresh without a clock",
            f"`{order.nonce}`",
            "wrong_nonce",
            with_directive(nonce="n0nce-of-yesterday-000"),
        ),
        Check(
            "5",
            "its `request_sha256` is the digest of the bytes that you sent",
            short(order.request_sha256),
            "wrong_request",
            with_directive(request_sha256=example.sha(b"other bytes")),
        ),
        Check(
            "6",
            "`issued` plus the seconds since you sent the poll is before `expires`",
            f"`{order.issued}` + {example.ELAPSED_S} s is before `{order.expires}`",
            "expired",
            with_directive(expires=example.ISSUED),
        ),
    ]


def checks_of_the_manifest():
    order, manifest, publisher = example.directive(), example.manifest(), example.KEYS["publisher"].id
    return [
        Check(
            "7",
            "the response has a manifest, and its *payload's* SHA-256 is `manifest_sha256`",
            short(order.manifest_sha256),
            "wrong_manifest",
            with_directive(manifest_sha256=example.sha(b"other manifest")),
        ),
        Check(
            "8",
            "the manifest is an envelope that the publishers signed (section 2)",
            f"type `{type(manifest).payload_type}`, signed by `{publisher}`",
            "section 2",
            with_broken_signature(lambda poll_response: poll_response["manifest"]["envelope"]),
        ),
        Check(
            "9",
            "the manifest's `model` is the directive's",
            f"`{manifest.model}`",
            "wrong_model",
            with_manifest(model="vision"),
        ),
        Check(
            "10",
            "trust bundle and manifest have not expired (at which time: see below)",
            f"`{example.NOW:%Y-%m-%dT%H:%M:%SZ}` is before `{example.trust().expires}` and `{manifest.expires}`",
            "expired",
            with_state(newest_issued="2027-06-01T00:00:00Z"),
        ),
    ]


def checks_of_counter_and_floor():
    manifest, state = example.manifest(), example.STATE
    return [
        Check(
            "11",
            "`counter` is not below the highest `floor` that you ever accepted, nor below its own `floor`",
            f"{manifest.counter} is not below {state.floor} and {manifest.floor}",
            "rollback_refused",
            with_state(floor=14),
        ),
        Check(
            "",
            "`floor` is at most 2^31 above the highest `floor` that you ever accepted (0 at first)",
            f"{manifest.floor} - {state.floor} = {manifest.floor - state.floor}",
            "fast_forward",
            with_manifest(counter=2**40, floor=2**40),
        ),
        Check(
            "12",
            "unless `action` is `rollback`: `counter` is not below the running version's",
            f"{manifest.counter} is not below {state.counter}",
            "rollback_refused",
            with_state(counter=14),
        ),
    ]


def checks_of_variant_and_components():
    order = example.directive()
    return [
        Check(
            "13",
            "the manifest has the `variant` that the directive names",
            f"`{order.variant}`",
            "wrong_variant",
            with_directive(variant="int8"),
        ),
        Check(
            "14",
            "names and paths of the components are unique, and every wanted component is there",
            "`weights` and `tokenizer`; the device wants all",
            "mixed_versions",
            with_wanted_component,
        ),
    ]


def checks_of_options():
    weights, patcher = example.manifest().variants[0].components[0], example.KEYS["patcher"].id
    patch, full = example.downloads()[0].options
    return [
        Check(
            "15",
            "a `full` option has the manifest's size and digest",
            f"{full.size} bytes, {short(full.sha256)}",
            "mixed_versions",
            with_option(1, size=full.size + 1),
        ),
        Check(
            "",
            "a patch option has a descriptor that the patcher signed (section 2)",
            f"signed by `{patcher}`",
            "section 2",
            with_option(0, descriptor=json.loads(example.descriptor().sign([DIRECTOR]))),
        ),
        Check(
            "",
            "the descriptor's `target` is the manifest's file; its `patch` and `format` are the option's; it has an "
            "`index_sha256`",
            f"target {short(weights.sha256)}, patch {short(patch.sha256)}, {patch.size} bytes, `{patch.format}`",
            "mixed_versions",
            with_option(0, size=patch.size + 1),
        ),
    ]
