"""Documents that are unsigned, or signed by the wrong key.

In every scenario the old version keeps running, and a genuine offer works afterwards.
"""

import base64
from collections.abc import Callable

from sdk_contract.conformance.fake_server.content import random_content
from sdk_contract.conformance.fake_server.server import FakeServer
from sdk_contract.conformance.fake_server.tampering import EditFields, Fields, Forgery
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session
from sdk_contract.documents import Directive, Manifest

SUITE = Suite("forgery")
TamperWith = Callable[[FakeServer], None]


def _add_refusal(
    name: str, requirement: str, tamper: TamperWith, code: str, attack: str = "arbitrary_software"
) -> None:
    def run(session: Session) -> None:
        tamper(session.start_with_offer().server)
        session.expect_refusal(code)
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, attack)


def _signed_by(document: str, signer: str) -> TamperWith:
    def tamper(server: FakeServer) -> None:
        forgery: Forgery = getattr(server.tampering, document)
        forgery.signers = (signer,) if signer else ()

    return tamper


def _edit_envelope(document: str, edit: EditFields) -> TamperWith:
    def tamper(server: FakeServer) -> None:
        forgery: Forgery = getattr(server.tampering, document)
        forgery.envelope = edit

    return tamper


def _flip_bit_in(member: Callable[[Fields], str], place: Callable[[Fields, str], Fields]) -> EditFields:
    def edit(envelope: Fields) -> Fields:
        raw = bytearray(base64.b64decode(member(envelope)))
        raw[len(raw) // 2] ^= 1
        return place(envelope, base64.b64encode(bytes(raw)).decode())

    return edit


_PAYLOAD = _flip_bit_in(lambda e: str(e["payload"]), lambda e, text: {**e, "payload": text})
_SIGNATURE = _flip_bit_in(
    lambda e: str(e["signatures"][0]["sig"]),
    lambda e, text: {**e, "signatures": [{**e["signatures"][0], "sig": text}]},
)

for _document in ("directive", "manifest"):
    for _signer in ("stranger", "root", "patcher", "publisher" if _document == "directive" else "director"):
        _attack = "arbitrary_software" if _signer == "stranger" else "key_compromise"
        _add_refusal(
            f"{_document}-by-{_signer}",
            f"A {_document} that is signed by the {_signer} is refused.",
            _signed_by(_document, _signer),
            "unknown_key",
            _attack,
        )
    _add_refusal(
        f"{_document}-unsigned",
        f"A {_document} without a signature is refused.",
        _signed_by(_document, ""),
        "unknown_key",
    )
    _add_refusal(
        f"{_document}-signature-changed",
        f"A {_document} with a damaged signature is refused.",
        _edit_envelope(_document, _SIGNATURE),
        "signature_invalid",
    )

_add_refusal(
    "directive-payload-changed",
    "A directive that was changed after signing is refused.",
    _edit_envelope("directive", _PAYLOAD),
    "signature_invalid",
)


def _replace_key_id(name: str) -> EditFields:
    """Replace the key id of the first signature."""

    def edit(envelope: Fields) -> Fields:
        return {**envelope, "signatures": [{**envelope["signatures"][0], "keyid": name}]}

    return edit


def _use_known_key_id(server: FakeServer) -> None:
    server.tampering.directive.signers = ("stranger",)
    server.tampering.directive.envelope = _replace_key_id(server.keys["director"].id)


_add_refusal(
    "stranger-with-a-known-key-id",
    "A signature by a stranger under a known key id is refused.",
    _use_known_key_id,
    "signature_invalid",
)


def _sign_as_manifest(server: FakeServer) -> None:
    server.tampering.directive.payload_type = Manifest.payload_type


def _change_type(server: FakeServer) -> None:
    server.tampering.directive.signed_type = Manifest.payload_type
    server.tampering.directive.claimed_type = Directive.payload_type


_add_refusal(
    "directive-of-another-type",
    "An envelope of another payload type is refused.",
    _sign_as_manifest,
    "wrong_payload_type",
    "mix_and_match",
)
_add_refusal(
    "directive-with-changed-type",
    "An envelope whose payload type was changed after signing is refused.",
    _change_type,
    "signature_invalid",
    "mix_and_match",
)


def _require_two_publishers(session: Session) -> None:
    """Ship a trust bundle with a publisher threshold of two."""
    bundle = session.server.trust_fields(1, {"publisher": ("publisher", "publisher2")})
    bundle["roles"]["publisher"]["threshold"] = 2
    _ship(session, bundle)
    session.server.tampering.manifest.signers = ("publisher", "publisher2")


def _ship(session: Session, bundle: Fields) -> None:
    session.server.trust_chain[0] = session.shipped_trust_bundle = session.server.sign_trust(
        bundle, ("root",)
    )


@SUITE.scenario()
def two_publishers(session: Session) -> None:
    """A manifest signed by two of two publishers is installed."""
    _require_two_publishers(session)
    session.start_with_offer().expect_update_to("v2")


@SUITE.scenario("key_compromise")
def one_of_two_publishers(session: Session) -> None:
    """A manifest signed by one of two publishers is refused."""
    _require_two_publishers(session)
    session.start_with_offer().server.tampering.manifest.signers = ("publisher2",)
    session.expect_refusal("threshold_not_met")


@SUITE.scenario("key_compromise")
def one_publisher_twice(session: Session) -> None:
    """Two signatures by the same key count once."""
    _require_two_publishers(session)
    session.start_with_offer().server.tampering.manifest.signers = ("publisher", "publisher")
    session.expect_refusal("threshold_not_met")


@SUITE.scenario("key_compromise")
def one_key_under_two_ids(session: Session) -> None:
    """A key that is listed under two ids counts once."""
    bundle = session.server.trust_fields(1)
    known, alias = session.server.keys["publisher"].id, "0" * 16
    bundle["keys"][alias] = bundle["keys"][known]
    bundle["roles"]["publisher"] = {"keys": [known, alias], "threshold": 2}
    _ship(session, bundle)

    def sign_with_both_ids(envelope: Fields) -> Fields:
        first = envelope["signatures"][0]
        return {**envelope, "signatures": [first, {**first, "keyid": alias}]}

    session.server.publish("v1", 1, {"backbone": random_content("a")})
    session.enroll()
    session.server.offered = "v1"
    session.server.tampering.manifest.envelope = sign_with_both_ids
    session.expect_refusal("threshold_not_met", runs=None)
