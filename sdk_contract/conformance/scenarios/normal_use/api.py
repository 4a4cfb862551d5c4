"""Access tokens and error responses of the API."""

from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.http import problem
from sdk_contract.conformance.fake_server.values import unchecked_json
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("api")
POLL, TOKEN = "/v1/model/update", "/v1/device/token"


@SUITE.scenario()
def token_is_renewed(session: Session) -> None:
    """An SDK gets a new access token if the server rejects the old one."""
    server = session.start_with_offer().server
    server.offered = None
    session.expect_unchanged("v1")
    server.offered = "v2"
    server.tokens.clear()
    before = server.tokens_renewed
    session.expect_update_to("v2")
    session.require(server.tokens_renewed > before, "the SDK did not request a new token")


@SUITE.scenario()
def rejected_tokens_are_not_retried_forever(session: Session) -> None:
    """An SDK gives up if the server rejects every token."""
    server = session.start_with_offer().server
    server.faults[POLL].extend([Fault(status=401)] * 50)
    session.expect_refusal("request_rejected")
    session.require(len(server.requests_to(POLL)) <= 3, f"{len(server.requests_to(POLL))} polls")
    server.faults.clear()
    session.expect_update_to("v2")


@SUITE.scenario()
def suspended_device(session: Session) -> None:
    """A suspended device stops and keeps its model."""
    body = unchecked_json(problem(403, "device_suspended"))
    session.start_with_offer().server.faults[TOKEN].extend([Fault(status=403, body=body)] * 8)
    session.server.faults[POLL].extend([Fault(status=403, body=body)] * 8)
    session.expect_refusal("request_rejected")
    session.restore_server()
    session.expect_update_to("v2")


def _add_client_error(status: int, body: bytes | None = None) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.faults[POLL].append(Fault(status=status, body=body))
        session.expect_refusal("request_rejected")
        session.require(len(session.server.requests_to(POLL)) == 1, "the request was repeated")
        session.expect_update_to("v2")

    suffix = "-without-problem" if body else ""
    SUITE.add(f"status-{status}{suffix}", f"Status {status} ends the update without a retry.", run)


for _status in (400, 404, 409, 413, 422):
    _add_client_error(_status)
_add_client_error(418, b"I am a teapot")


def _add_wrong_clock(name: str, requirement: str, ahead_s: int) -> None:
    def run(session: Session) -> None:
        server = session.start_with_offer().server
        server.tokens.clear()
        server.clock_ahead_s = ahead_s
        session.expect_update_to("v2")
        requests = len(server.requests_to(TOKEN))
        session.require(requests <= 4, f"{requests} token requests")

    SUITE.add(name, requirement, run)


_add_wrong_clock(
    "clock-a-day-behind",
    "A device whose clock is a day behind authenticates with the server's time.",
    86_400,
)
_add_wrong_clock(
    "clock-a-year-ahead",
    "A device whose clock is a year ahead authenticates with the server's time.",
    -365 * 86_400,
)


@SUITE.scenario()
def server_always_rejects_the_clock(session: Session) -> None:
    """An SDK gives up if the server rejects every assertion as expired."""
    server = session.start_with_offer().server
    server.tokens.clear()
    body = unchecked_json({**problem(401, "token_expired"), "server_time": 4_000_000_000})
    server.faults[TOKEN].extend([Fault(status=401, body=body)] * 50)
    session.expect_refusal("request_rejected")
    requests = len(server.requests_to(TOKEN))
    session.require(requests <= 6, f"{requests} token requests")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario()
def token_endpoint_fails(session: Session) -> None:
    """Without a token the update fails and changes nothing."""
    session.start_with_offer().server.tokens.clear()
    session.server.faults[TOKEN].extend([Fault(status=500)] * 8)
    session.server.faults[POLL].extend([Fault(status=401)] * 8)
    session.expect_refusal("server_busy")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("replay")
def assertions_are_used_once(session: Session) -> None:
    """Every token request has a new assertion."""
    server = session.start_with_offer().server
    for _ in range(3):
        server.tokens.clear()
        session.update()
    bodies = [request.body for request in server.requests_to(TOKEN)]
    session.require(bodies, "the SDK did not request a token")
    session.require(len(set(bodies)) == len(bodies), "an assertion was used twice")
