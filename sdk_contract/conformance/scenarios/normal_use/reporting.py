"""Events that an SDK reports."""

import json

from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session
from sdk_contract.wire import MAX_EVENTS

SUITE = Suite("reporting")
EVENTS = "/v1/model/events"


@SUITE.scenario()
def events_of_an_update(session: Session) -> None:
    """acknowledged, downloading, downloaded, staged, activating, committed: in this order, for one attempt."""
    session.start_with_offer().expect_update_to("v2")
    states = session.server.reported_states
    expected = ["acknowledged", "downloading", "downloaded", "staged", "activating", "committed"]
    reported = [state for state in states if state in expected]
    session.require(list(dict.fromkeys(reported)) == expected, f"reported {states}")
    attempts = {event.get("attempt_id") for event in session.server.events.values()}
    session.require(attempts == {"attempt-1"}, f"reported for {attempts}")


@SUITE.scenario()
def rejected_events_are_sent_again(session: Session) -> None:
    """Events that the server did not accept are sent again with the same ids."""
    server = session.start_with_offer().server
    server.faults[EVENTS].extend([Fault(status=503)] * 20)
    session.expect_update_to("v2")
    sent = {event["event_id"] for request in server.requests_to(EVENTS) for event in json.loads(request.body)}
    session.require(not server.events, "the server accepted an event")
    server.faults.clear()
    session.expect_unchanged("v2")
    session.require("committed" in server.reported_states, f"reported {server.reported_states}")
    session.require(sent <= set(server.events), "the events were sent again with other ids")


@SUITE.scenario()
def response_to_events_is_lost(session: Session) -> None:
    """Events whose response was lost are sent again with the same ids."""
    server = session.start_with_offer().server
    server.faults[EVENTS].append(Fault(drop_response=True))
    session.expect_update_to("v2")
    session.expect_unchanged("v2")
    session.require(server.reported_states.count("committed") == 1, f"reported {server.reported_states}")


@SUITE.scenario()
def refusal_is_reported(session: Session) -> None:
    """If a poll response violates a rule, the SDK reports the rule's code."""
    server = session.start_with_offer().server
    server.tampering.manifest.signers = ("stranger",)
    session.expect_refusal("unknown_key")
    session.restore_server()
    session.expect_update_to("v2")
    failures = [event for event in server.events.values() if event["state"] in ("rejected", "failed")]
    codes = {event.get("code") for event in failures}
    session.require("unknown_key" in codes, f"reported {codes}")


@SUITE.scenario()
def batches_are_bounded(session: Session) -> None:
    """A request holds at most 50 events, however many are waiting."""
    server = session.start_with_offer().server
    server.tampering.manifest.signers = ("stranger",)
    server.faults[EVENTS].extend([Fault(status=503)] * 1000)
    for _ in range(60):
        session.update()
    session.restore_server()
    session.expect_update_to("v2")
    session.expect_unchanged("v2")
    largest = max(len(json.loads(request.body)) for request in server.requests_to(EVENTS))
    session.require(largest <= MAX_EVENTS, f"a batch of {largest} events")
    session.require("committed" in server.reported_states, "the last event did not arrive")
