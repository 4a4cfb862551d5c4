"""Documents that nobody, or the wrong one, has signed. Each time the old model keeps running, and a genuine offer works."""

import base64
from collections.abc import Callable

from sdk_contract.conformance.lies import Edit, Fields, Forgery
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content
from sdk_contract.conformance.world import World
from sdk_contract.documents import Directive, Manifest

BOOK = Book("forgery")
Twist = Callable[[World], None]


def _refused(words: str, text: str, twist: Twist, code: str, attack: str = "arbitrary_software") -> None:
    def play(stage: Stage) -> None:
        twist(stage.ready().world)
        stage.refuses(code)
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, attack)


def _signed_by(document: str, signer: str) -> Twist:
    def twist(world: World) -> None:
        forgery: Forgery = getattr(world.lies, document)
        forgery.signers = (signer,) if signer else ()

    return twist


def _enveloped(document: str, edit: Edit) -> Twist:
    def twist(world: World) -> None:
        forgery: Forgery = getattr(world.lies, document)
        forgery.envelope = edit

    return twist


def _flipped(member: Callable[[Fields], str], place: Callable[[Fields, str], Fields]) -> Edit:
    def edit(envelope: Fields) -> Fields:
        raw = bytearray(base64.b64decode(member(envelope)))
        raw[len(raw) // 2] ^= 1
        return place(envelope, base64.b64encode(bytes(raw)).decode())

    return edit


_PAYLOAD = _flipped(lambda e: str(e["payload"]), lambda e, text: {**e, "payload": text})
_SIGNATURE = _flipped(
    lambda e: str(e["signatures"][0]["sig"]),
    lambda e, text: {**e, "signatures": [{**e["signatures"][0], "sig": text}]},
)

for _document in ("directive", "manifest"):
    for _signer in ("stranger", "root", "patcher", "publisher" if _document == "directive" else "director"):
        _attack = "arbitrary_software" if _signer == "stranger" else "key_compromise"
        _refused(
            f"{_document}-by-{_signer}",
            f"A {_document} that the {_signer} has signed is refused.",
            _signed_by(_document, _signer),
            "unknown_key",
            _attack,
        )
    _refused(
        f"{_document}-unsigned",
        f"A {_document} without a signature is refused.",
        _signed_by(_document, ""),
        "unknown_key",
    )
    _refused(
        f"{_document}-signature-changed",
        f"A {_document} with a damaged signature is refused.",
        _enveloped(_document, _SIGNATURE),
        "signature_invalid",
    )

_refused(
    "directive-payload-changed",
    "A directive that was changed after it was signed is refused.",
    _enveloped("directive", _PAYLOAD),
    "signature_invalid",
)


def _claims(name: str) -> Edit:
    """The envelope says that a key of the role has signed, which it has not."""

    def edit(envelope: Fields) -> Fields:
        return {**envelope, "signatures": [{**envelope["signatures"][0], "keyid": name}]}

    return edit


def _borrowed_id(world: World) -> None:
    world.lies.directive.signers = ("stranger",)
    world.lies.directive.envelope = _claims(world.keys["director"].id)


_refused(
    "stranger-under-a-known-id",
    "A key id is a hint: the signature has to fit the key.",
    _borrowed_id,
    "signature_invalid",
)


def _as_manifest(world: World) -> None:
    world.lies.directive.kind = Manifest.payload_type


def _relabelled(world: World) -> None:
    world.lies.directive.signed_as = Manifest.payload_type
    world.lies.directive.label = Directive.payload_type


_refused(
    "directive-of-another-type",
    "An envelope that says it holds another kind of document is refused.",
    _as_manifest,
    "payload_type",
    "mix_and_match",
)
_refused(
    "directive-relabelled",
    "The payload type is under the signature.",
    _relabelled,
    "signature_invalid",
    "mix_and_match",
)


def _two_publishers(stage: Stage) -> None:
    """Ship a trust bundle that asks for two publishers."""
    bundle = stage.world.bundle(1, {"publisher": ("publisher", "publisher2")})
    bundle["roles"]["publisher"]["threshold"] = 2
    _ship(stage, bundle)
    stage.world.lies.manifest.signers = ("publisher", "publisher2")


def _ship(stage: Stage, bundle: Fields) -> None:
    stage.world.chain[0] = stage.shipped_trust = stage.world.sealed_trust(bundle, ("root",))


@BOOK.scenario()
def two_publishers(stage: Stage) -> None:
    """Two of two publishers have signed: good."""
    _two_publishers(stage)
    stage.ready().updates_to("v2")


@BOOK.scenario("key_compromise")
def one_of_two_publishers(stage: Stage) -> None:
    """One of two publishers is not enough."""
    _two_publishers(stage)
    stage.ready().world.lies.manifest.signers = ("publisher2",)
    stage.refuses("threshold_not_met")


@BOOK.scenario("key_compromise")
def one_publisher_twice(stage: Stage) -> None:
    """Two signatures by one key are one voice."""
    _two_publishers(stage)
    stage.ready().world.lies.manifest.signers = ("publisher", "publisher")
    stage.refuses("threshold_not_met")


@BOOK.scenario("key_compromise")
def one_key_under_two_ids(stage: Stage) -> None:
    """One key that is listed under two ids is one voice."""
    bundle = stage.world.bundle(1)
    known, alias = stage.world.keys["publisher"].id, "0" * 16
    bundle["keys"][alias] = bundle["keys"][known]
    bundle["roles"]["publisher"] = {"keys": [known, alias], "threshold": 2}
    _ship(stage, bundle)

    def under_both(envelope: Fields) -> Fields:
        first = envelope["signatures"][0]
        return {**envelope, "signatures": [first, {**first, "keyid": alias}]}

    stage.world.publish("v1", 1, {"backbone": content("a")})
    stage.enrol()
    stage.world.offered = "v1"
    stage.world.lies.manifest.envelope = under_both
    stage.refuses("threshold_not_met", runs=None)
