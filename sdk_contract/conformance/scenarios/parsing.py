"""Bytes that two libraries read in two ways, well signed; and answers that are none."""

import re
from collections.abc import Callable

from sdk_contract.conformance.lies import EditBytes, Fields
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage

BOOK = Book("parsing")
ATTACK = "parser_differences"


def _payload(words: str, text: str, edit: EditBytes, document: str = "directive") -> None:
    def play(stage: Stage) -> None:
        getattr(stage.ready().world.lies, document).payload = edit
        stage.refuses("malformed")
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, ATTACK)


def _appended(member: bytes) -> EditBytes:
    return lambda payload: payload[:-1] + b"," + member + b"}"


def _dated(payload: bytes) -> bytes:
    return re.sub(rb'"issued":"[^"]*"', b'"issued":"2026-02-30T00:00:00Z"', payload)


_payload("two-actions", "A signed directive with two actions is refused.", _appended(b'"action":"none"'))
_payload("unknown-field", "A signed field that nobody knows is refused.", _appended(b'"colour":"blue"'))
_payload("float", "A float in a signed document is refused.", _appended(b'"ext":{"a":1.5}'))
_payload("huge-integer", "So is an integer beyond 2^53.", _appended(b'"ext":{"a":9007199254740993}'))
_payload("not-a-number", "So is NaN.", _appended(b'"ext":{"a":NaN}'))
_payload("half-a-pair", "So is half a surrogate pair.", _appended(b'"ext":{"a":"\\ud83e"}'))
_payload("too-deep", "So are nine levels.", _appended(b'"ext":{"a":' + b"[" * 8 + b"]" * 8 + b"}"))
_payload("trailing-bytes", "So are bytes behind the document.", lambda payload: payload + b"{}")
_payload("not-utf-8", "So is Latin-1.", _appended(b'"ext":{"a":"\xfc"}'))
_payload("byte-order-mark", "So is a byte order mark.", lambda payload: b"\xef\xbb\xbf" + payload)
_payload("not-json", "So is no JSON at all.", lambda _: b"hello")
_payload("impossible-date", "30 February is no time.", _dated)
_payload(
    "two-counters", "A signed manifest with two counters is refused.", _appended(b'"counter":99'), "manifest"
)
_payload(
    "manifest-unknown-field",
    "A manifest's unknown field is refused.",
    _appended(b'"colour":"blue"'),
    "manifest",
)
_payload(
    "manifest-float",
    "A manifest's float is refused.",
    lambda payload: payload.replace(b'"counter":2', b'"counter":2.0'),
    "manifest",
)


def _body(words: str, text: str, edit: EditBytes, *codes: str) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.lies.body = edit
        stage.refuses(*codes)
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, ATTACK)


_body(
    "answer-is-text",
    "An answer that is no JSON is a failure.",
    lambda _: b"<html>hello</html>",
    "unreachable",
    "malformed",
)
_body("answer-is-empty", "So is an empty one.", lambda _: b"", "unreachable", "malformed")
_body("answer-is-a-list", "So is a list.", lambda body: b"[" + body + b"]", "unreachable", "malformed")
_body(
    "answer-is-cut", "So is half an answer.", lambda body: body[: len(body) // 2], "unreachable", "malformed"
)
_body(
    "answer-is-deep",
    "So is one that would overflow a stack.",
    lambda _: b"[" * 100_000,
    "unreachable",
    "malformed",
)
_body("answer-is-null", "So is null.", lambda _: b"null", "unreachable", "malformed")


def _directive(words: str, text: str, change: Callable[[Fields], Fields]) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.lies.directive.envelope = change
        stage.refuses("malformed", "unreachable")
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, ATTACK)


_directive("payload-is-a-number", "A payload that is no string is refused.", lambda e: {**e, "payload": 7})
_directive(
    "payload-is-base64url",
    "A payload in another base64 is refused.",
    lambda e: {**e, "payload": e["payload"] + "-_"},
)
_directive(
    "signatures-is-an-object", "Signatures that are no list are refused.", lambda e: {**e, "signatures": {}}
)
_directive(
    "seventeen-signatures",
    "More than 16 signatures are refused.",
    lambda e: {**e, "signatures": e["signatures"] * 17},
)
_directive("nan-in-the-envelope", "NaN beside the payload is refused.", lambda e: {**e, "note": float("nan")})


@BOOK.scenario(ATTACK)
def trust_answer_is_text(stage: Stage) -> None:
    """An answer of `/v1/trust` that is no JSON is a failure, and nothing is believed."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root",)))
    world.lies.chain = [b"<html>"]
    stage.refuses("unreachable", "malformed")
    stage.trusts(1)
    stage.honest()
    stage.updates_to("v2")
    stage.trusts(2)
