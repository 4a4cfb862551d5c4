"""Genuine responses that are expired, or were made for another poll or device."""

from datetime import UTC, datetime, timedelta

from sdk_contract.conformance.fake_server.tampering import Fields
from sdk_contract.conformance.fake_server.values import sha256_hex, timestamp_in
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session
from sdk_contract.documents import format_timestamp

SUITE = Suite("freshness")


def _add_directive_with_and_without_offer(
    name: str, requirement: str, changes: Fields, code: str, attack: str
) -> None:
    for offered in ("v2", None):
        suffix = "" if offered else "-without-offer"
        _add_directive(name + suffix, requirement, changes, code, attack, offered=offered)


def _add_directive(
    name: str, requirement: str, changes: Fields, code: str, attack: str, *, offered: str | None
) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.offered = offered
        session.server.tampering.directive.fields = lambda fields: {**fields, **changes}
        session.expect_refusal(code)
        session.restore_server()
        session.server.offered = "v2"
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, attack)


_add_directive_with_and_without_offer(
    "other-device",
    "A directive for another device is refused.",
    {"device_id": "dev-2"},
    "wrong_device",
    "replay",
)
_add_directive_with_and_without_offer(
    "other-nonce",
    "A directive with another poll's nonce is refused.",
    {"nonce": "n0nce-of-yesterday-000000"},
    "wrong_nonce",
    "freeze",
)
_add_directive_with_and_without_offer(
    "other-request",
    "A directive for other request bytes is refused.",
    {"request_sha256": sha256_hex(b"other")},
    "wrong_request",
    "replay",
)
_add_directive(
    "no-nonce",
    "A directive without a nonce is refused.",
    {"nonce": ""},
    "wrong_nonce",
    "freeze",
    offered="v2",
)
_PAST = format_timestamp(datetime.now(UTC) - timedelta(days=400))
_add_directive(
    "directive-expired-at-issue",
    "A directive that was expired when it was issued is refused.",
    {"issued": _PAST, "expires": _PAST},
    "expired",
    "freeze",
    offered="v2",
)


@SUITE.scenario("freeze")
def replayed_response_without_offer(session: Session) -> None:
    """A recorded response without an offer is refused when it is replayed."""
    recorded: list[bytes] = []

    def record(body: bytes) -> bytes:
        recorded.append(body)
        return body

    session.start_with_offer().server.offered = None
    session.server.tampering.response_bytes = record
    session.expect_unchanged("v1")
    session.server.tampering.response_bytes = lambda _: recorded[0]
    session.expect_refusal("wrong_nonce")
    session.restore_server()
    session.server.offered = "v2"
    session.expect_update_to("v2")


@SUITE.scenario("freeze")
def manifest_expired(session: Session) -> None:
    """An expired manifest starts no install; the running version keeps running."""
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {
        **fields,
        "expires": timestamp_in(days=-1),
    }
    session.expect_refusal("expired")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("freeze")
def trust_expired(session: Session) -> None:
    """An expired trust bundle starts no install; its successor does."""
    session.server.trust_chain[0] = session.shipped_trust_bundle = session.server.trust_envelope(
        1, ("root",), expires=timestamp_in(days=-1)
    )
    session.start_with_offer().expect_refusal("expired")
    session.server.trust_chain.append(session.server.trust_envelope(2, ("root",)))
    session.expect_update_to("v2")


@SUITE.scenario("freeze")
def trust_expired_without_an_offer(session: Session) -> None:
    """Without an offer, an expired trust bundle changes nothing."""
    session.server.trust_chain[0] = session.shipped_trust_bundle = session.server.trust_envelope(
        1, ("root",), expires=timestamp_in(days=-1)
    )
    session.start_with_offer().server.offered = None
    session.expect_unchanged("v1")


@SUITE.scenario("freeze")
def response_without_directive(session: Session) -> None:
    """A response without a signed directive is refused."""
    session.start_with_offer().server.tampering.response = lambda response: {**response, "directive": {}}
    session.expect_refusal("malformed")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("freeze")
def back_dated_directive(session: Session) -> None:
    """A back-dated directive does not revive an expired manifest: the newest `issued` seen counts."""
    session.start_with_offer().server.offered = None
    session.expect_unchanged("v1")
    session.server.offered = "v2"
    session.server.tampering.directive.fields = lambda fields: {
        **fields,
        "issued": _PAST,
        "expires": format_timestamp(datetime.now(UTC) - timedelta(days=399)),
    }
    session.server.tampering.manifest.fields = lambda fields: {**fields, "expires": timestamp_in(days=-100)}
    session.expect_refusal("expired")
