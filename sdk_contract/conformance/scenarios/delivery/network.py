"""Interrupted, slow, redirected and corrupted transfers."""

from sdk_contract.conformance.fake_server.content import SIZE
from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.server import FakeServer
from sdk_contract.conformance.fake_server.values import sha256_hex
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("network")
OBJECTS = "/objects/"
POLL = "/v1/model/update"


def _add_recoverable(name: str, requirement: str, *faults: Fault, attack: str | None = None) -> None:
    """An update that must succeed in spite of the faults."""

    def run(session: Session) -> None:
        session.start_with_offer().server.faults[OBJECTS].extend(faults)
        session.expect_update_to("v2")
        session.require(not session.server.faults[OBJECTS], "the SDK gave up before the faults ended")

    SUITE.add(name, requirement, run, attack)


_add_recoverable("cut-once", "An interrupted download is resumed.", Fault(cut_after=20_000))
_add_recoverable(
    "cut-twice",
    "A download that is interrupted twice is resumed twice.",
    Fault(cut_after=20_000),
    Fault(cut_after=9_000),
)
_add_recoverable(
    "cut-before-the-first-byte",
    "A download interrupted before its first byte is resumed.",
    Fault(cut_after=0),
)
_add_recoverable(
    "cut-at-the-last-byte",
    "A download interrupted before its last byte is resumed.",
    Fault(cut_after=SIZE + 511),
)
_add_recoverable(
    "content-length-too-large",
    "A response shorter than its Content-Length is resumed.",
    Fault(extra_length=1000),
)
_add_recoverable(
    "range-ignored",
    "A store that ignores ranges is supported.",
    Fault(cut_after=20_000),
    Fault(ignore_range=True),
)
_add_recoverable(
    "range-too-late",
    "A range that starts after the requested one is not used.",
    Fault(cut_after=20_000),
    Fault(range_shift=7),
)
_add_recoverable(
    "range-too-early",
    "A range that starts before the requested one is trimmed or not used.",
    Fault(cut_after=20_000),
    Fault(range_shift=-7),
)
_add_recoverable("busy-store", "A store that is briefly unavailable is asked again.", Fault(status=503))
_add_recoverable(
    "stalled-once",
    "A stalled download is resumed.",
    Fault(stall_after=20_000),
    attack="slow_retrieval",
)
_add_recoverable(
    "too-slow-once",
    "A download that is too slow is aborted and resumed.",
    Fault(bytes_per_s=1000),
    attack="slow_retrieval",
)


@SUITE.scenario()
def resume_requests_the_rest(session: Session) -> None:
    """After an interruption only the missing bytes are requested."""
    session.start_with_offer().server.faults[OBJECTS].append(Fault(cut_after=20_000))
    session.expect_update_to("v2")
    ranges = [entry.headers.get("Range", "") for entry in session.server.requests_to(OBJECTS)]
    session.require(
        len(ranges) >= 2 and ranges[-1].startswith("bytes=") and ranges[-1] != ranges[0],
        f"requested {ranges}",
    )


@SUITE.scenario("slow_retrieval")
def always_stalls(session: Session) -> None:
    """A store that always stalls ends the update."""
    session.start_with_offer().server.faults[OBJECTS].extend([Fault(stall_after=0)] * 60)
    session.expect_refusal("timeout", "too_slow", "unreachable")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("slow_retrieval")
def one_byte_per_connection(session: Session) -> None:
    """A store that sends one byte per connection ends the update."""
    session.start_with_offer().server.faults[OBJECTS].extend([Fault(cut_after=1)] * 200)
    session.expect_refusal("unreachable")
    session.require(len(session.downloaded_digests()) < 100, "the SDK reconnected 100 times or more")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("slow_retrieval")
def poll_stalls(session: Session) -> None:
    """A poll without a response times out."""
    session.start_with_offer().server.faults[POLL].append(Fault(status=200, body=b"{}", stall_after=0))
    session.expect_refusal("timeout")
    session.expect_update_to("v2")


def _add_corrupt(name: str, requirement: str, fault: Fault, attack: str | None) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.faults[OBJECTS].extend([fault] * 16)
        session.expect_refusal("input_hash_mismatch")
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, attack)


_add_corrupt("wrong-bit", "A wrong bit in a file is detected.", Fault(flip_byte_at=777), "malicious_mirror")
_add_corrupt(
    "wrong-bit-in-last-byte",
    "A wrong bit in the last byte of a file is detected.",
    Fault(flip_byte_at=SIZE + 511),
    "malicious_mirror",
)
_add_corrupt(
    "zeros",
    "A file of zeros is detected.",
    Fault(body=bytes(SIZE + 512), ignore_range=True),
    "malicious_mirror",
)


@SUITE.scenario("malicious_mirror")
def wrong_bit_before_a_resume(session: Session) -> None:
    """A wrong bit before an interruption is detected."""
    session.start_with_offer().server.faults[OBJECTS].extend([Fault(flip_byte_at=5, cut_after=20_000)])
    session.update()
    session.update()
    session.expect_update_to("v2")


def _add_poll_fault(name: str, requirement: str, fault: Fault, *codes: str) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.faults[POLL].append(fault)
        session.expect_refusal(*codes)
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run)


_add_poll_fault(
    "poll-500", "Status 500 fails the update, which can be repeated.", Fault(status=500), "server_busy"
)
_add_poll_fault(
    "poll-503",
    "Status 503 fails the update, which can be repeated.",
    Fault(status=503, headers={"Retry-After": "7"}),
    "server_busy",
)
_add_poll_fault(
    "poll-429",
    "Status 429 fails the update, which can be repeated.",
    Fault(status=429, headers={"Retry-After": "7"}),
    "server_busy",
)
_add_poll_fault(
    "poll-response-lost",
    "A connection closed without a response fails the update.",
    Fault(drop_response=True),
    "unreachable",
)
_add_poll_fault(
    "poll-response-cut",
    "A truncated response fails the update.",
    Fault(status=200, body=b'{"need_update":true', extra_length=99),
    "unreachable",
)
_add_poll_fault(
    "poll-html",
    "The page of a captive portal fails the update.",
    Fault(status=200, body=b"<html>Welcome!</html>"),
    "unreachable",
    "malformed",
)


@SUITE.scenario("malicious_mirror")
def poll_redirected(session: Session) -> None:
    """A redirect is not followed, because the token would be sent along."""
    server = session.start_with_offer().server
    server.faults[POLL].append(Fault(status=307, headers={"Location": f"{server.base_url}/elsewhere"}))
    session.expect_refusal("request_rejected", "unreachable")
    session.require(not server.requests_to("/elsewhere"), "the redirect was followed")
    session.expect_update_to("v2")


@SUITE.scenario()
def server_unreachable(session: Session) -> None:
    """An unreachable server fails the update and changes nothing."""
    server = session.start_with_offer().server
    _drop_all_responses(server)
    session.expect_refusal("unreachable")
    session.restore_server()
    session.expect_update_to("v2")


def _drop_all_responses(server: FakeServer) -> None:
    for path in ("/v1/device/token", POLL, "/v1/model/events"):
        server.faults[path].extend([Fault(drop_response=True)] * 8)


@SUITE.scenario()
def failed_update_is_resumed_later(session: Session) -> None:
    """Bytes that were downloaded before a failure are not downloaded again."""
    server = session.start_with_offer().server
    server.faults[OBJECTS].extend([Fault(cut_after=40_000)] + [Fault(cut_after=0)] * 20)
    session.expect_refusal("unreachable")
    session.restore_server()
    before = server.bytes_sent
    session.expect_update_to("v2")
    session.require(
        server.bytes_sent - before < SIZE,
        f"{server.bytes_sent - before} bytes were sent for the rest of {SIZE}",
    )
    session.require(
        sha256_hex(server.versions["v2"].files["backbone"]) in session.downloaded_digests(),
        "nothing was downloaded",
    )
