"""Download URLs: invalid ones, expired ones, and new ones for the same attempt."""

from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("urls")
OBJECTS = "/objects/"


def _add_bad_url(name: str, requirement: str, url: str) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.tampering.option = lambda option: {**option, "url": url}
        result = session.update()
        session.require(result.exit_code == 1, f"exit {result.exit_code}, must fail")
        session.expect_running("v1")
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, "malicious_mirror")


_add_bad_url("of-a-file", "A file URL is not used.", "file:///etc/hosts")
_add_bad_url("unreachable", "A URL without a server fails the update.", "http://127.0.0.1:9/x")
_add_bad_url("without-scheme", "A URL without a scheme fails the update.", "nowhere")
_add_bad_url("with-other-scheme", "An FTP URL fails the update.", "ftp://127.0.0.1/x")
_add_bad_url(
    "with-line-feed",
    "A URL with a line feed, which could inject a header, fails the update.",
    "http://127.0.0.1:9/x\r\nX: y",
)
_add_bad_url("malformed", "A malformed URL fails the update.", "http://[::1/x")


def _add_expired_url(status: int) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.faults[OBJECTS].append(Fault(status=status))
        before = len(session.server.polls)
        session.expect_update_to("v2")
        session.require(
            len(session.server.polls) == before + 2, "the SDK did not poll exactly once for a new URL"
        )

    SUITE.add(
        f"expired-{status}",
        f"After status {status} of a store the SDK polls for a new URL in the same attempt.",
        run,
    )


for _status in (403, 404, 410):
    _add_expired_url(_status)


@SUITE.scenario()
def all_expired(session: Session) -> None:
    """A store that rejects every URL ends the update; the next update resumes it."""
    session.start_with_offer().server.faults[OBJECTS].extend([Fault(status=403)] * 60)
    session.expect_refusal("url_expired")
    session.require(len(session.server.polls) < 10, "the SDK polled 10 times or more")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario()
def offer_withdrawn_during_download(session: Session) -> None:
    """If the server withdraws the offer while the SDK polls for a new URL, nothing is installed."""
    server = session.start_with_offer().server
    server.faults[OBJECTS].append(Fault(status=403))
    first: list[int] = []

    def withdraw(body: bytes) -> bytes:
        first.append(1)
        server.offered = None
        return body

    server.tampering.response_bytes = withdraw
    result = session.update()
    session.require(result.exit_code == 0, f"exit {result.exit_code}, must be 0")
    session.expect_running("v1")
