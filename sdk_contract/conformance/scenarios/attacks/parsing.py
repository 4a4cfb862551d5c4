"""Signed bytes that libraries parse differently, and invalid responses."""

import re
from collections.abc import Callable

from sdk_contract.conformance.fake_server.tampering import EditBytes, Fields
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("parsing")
ATTACK = "parser_differences"


def _add_payload(name: str, requirement: str, edit: EditBytes, document: str = "directive") -> None:
    def run(session: Session) -> None:
        getattr(session.start_with_offer().server.tampering, document).payload = edit
        session.expect_refusal("malformed")
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, ATTACK)


def _append(member: bytes) -> EditBytes:
    return lambda payload: payload[:-1] + b"," + member + b"}"


def _set_impossible_date(payload: bytes) -> bytes:
    return re.sub(rb'"issued":"[^"]*"', b'"issued":"2026-02-30T00:00:00Z"', payload)


_add_payload("two-actions", "A directive with two `action` fields is refused.", _append(b'"action":"none"'))
_add_payload(
    "unknown-field", "A directive with an unknown signed field is refused.", _append(b'"color":"blue"')
)
_add_payload("float", "A directive with a float is refused.", _append(b'"ext":{"a":1.5}'))
_add_payload(
    "huge-integer",
    "A directive with an integer beyond 2^53 - 1 is refused.",
    _append(b'"ext":{"a":9007199254740993}'),
)
_add_payload("not-a-number", "A directive with NaN is refused.", _append(b'"ext":{"a":NaN}'))
_add_payload(
    "unpaired-surrogate",
    "A directive with an unpaired surrogate is refused.",
    _append(b'"ext":{"a":"\\ud83e"}'),
)
_add_payload(
    "too-deep",
    "A directive with nine levels is refused.",
    _append(b'"ext":{"a":' + b"[" * 8 + b"]" * 8 + b"}"),
)
_add_payload("trailing-bytes", "A directive with trailing bytes is refused.", lambda payload: payload + b"{}")
_add_payload("not-utf-8", "A directive in Latin-1 is refused.", _append(b'"ext":{"a":"\xfc"}'))
_add_payload(
    "byte-order-mark",
    "A directive with a byte order mark is refused.",
    lambda payload: b"\xef\xbb\xbf" + payload,
)
_add_payload("not-json", "A directive that is not JSON is refused.", lambda _: b"hello")
_add_payload("impossible-date", "A directive issued on 30 February is refused.", _set_impossible_date)
_add_payload(
    "two-counters", "A manifest with two `counter` fields is refused.", _append(b'"counter":99'), "manifest"
)
_add_payload(
    "manifest-unknown-field",
    "A manifest with an unknown field is refused.",
    _append(b'"color":"blue"'),
    "manifest",
)
_add_payload(
    "manifest-float",
    "A manifest with a float is refused.",
    lambda payload: payload.replace(b'"counter":2', b'"counter":2.0'),
    "manifest",
)


def _add_body(name: str, requirement: str, edit: EditBytes, *codes: str) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.tampering.response_bytes = edit
        session.expect_refusal(*codes)
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, ATTACK)


_add_body(
    "response-is-text",
    "A response that is not JSON fails the update.",
    lambda _: b"<html>hello</html>",
    "unreachable",
    "malformed",
)
_add_body(
    "response-is-empty", "An empty response fails the update.", lambda _: b"", "unreachable", "malformed"
)
_add_body(
    "response-is-a-list",
    "A response that is a list fails the update.",
    lambda body: b"[" + body + b"]",
    "unreachable",
    "malformed",
)
_add_body(
    "response-is-cut",
    "A truncated response fails the update.",
    lambda body: body[: len(body) // 2],
    "unreachable",
    "malformed",
)
_add_body(
    "response-is-deep",
    "A response with 100,000 levels fails the update.",
    lambda _: b"[" * 100_000,
    "unreachable",
    "malformed",
)
_add_body(
    "response-is-null",
    "A response of `null` fails the update.",
    lambda _: b"null",
    "unreachable",
    "malformed",
)


def _add_envelope(name: str, requirement: str, change: Callable[[Fields], Fields]) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.tampering.directive.envelope = change
        session.expect_refusal("malformed", "unreachable")
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, ATTACK)


_add_envelope(
    "payload-is-a-number", "A payload that is not a string is refused.", lambda e: {**e, "payload": 7}
)
_add_envelope(
    "payload-is-base64url",
    "A payload in base64url is refused.",
    lambda e: {**e, "payload": e["payload"] + "-_"},
)
_add_envelope(
    "signatures-is-an-object",
    "Signatures that are not a list are refused.",
    lambda e: {**e, "signatures": {}},
)
_add_envelope(
    "seventeen-signatures",
    "An envelope with 17 signatures is refused.",
    lambda e: {**e, "signatures": e["signatures"] * 17},
)
_add_envelope("nan-in-the-envelope", "NaN in the envelope is refused.", lambda e: {**e, "note": float("nan")})


@SUITE.scenario(ATTACK)
def trust_response_is_text(session: Session) -> None:
    """A trust response that is not JSON fails the update and changes nothing."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root",)))
    server.tampering.trust_chain = [b"<html>"]
    session.expect_refusal("unreachable", "malformed")
    session.expect_trust_version(1)
    session.restore_server()
    session.expect_update_to("v2")
    session.expect_trust_version(2)
