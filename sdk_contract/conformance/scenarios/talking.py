"""Credentials, refusals and reports."""

import json

from sdk_contract.conformance.facts import encode
from sdk_contract.conformance.lies import Fault
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.server import problem
from sdk_contract.conformance.stage import Stage

BOOK = Book("talking")
POLL, TOKEN, EVENTS = "/v1/model/update", "/v1/device/token", "/v1/model/events"


@BOOK.scenario()
def events_of_a_good_update(stage: Stage) -> None:
    """acknowledged, downloading, downloaded, staged, activating, committed: in this order, in one attempt."""
    stage.ready().updates_to("v2")
    states = stage.world.states
    wanted = ["acknowledged", "downloading", "downloaded", "staged", "activating", "committed"]
    found = [state for state in states if state in wanted]
    stage.require(list(dict.fromkeys(found)) == wanted, f"reported {states}")
    attempts = {event.get("attempt_id") for event in stage.world.events.values()}
    stage.require(attempts == {"attempt-1"}, f"reported for {attempts}")


@BOOK.scenario()
def events_are_sent_again(stage: Stage) -> None:
    """Reports that were not taken come again, under the same ids."""
    world = stage.ready().world
    world.faults[EVENTS].extend([Fault(status=503)] * 20)
    stage.updates_to("v2")
    tried = {event["event_id"] for entry in world.requests(EVENTS) for event in json.loads(entry.body)}
    stage.require(not world.events, "nothing can have arrived")
    world.faults.clear()
    stage.stays("v2")
    stage.require("committed" in world.states, f"reported {world.states}")
    stage.require(tried <= set(world.events), "they came under other ids")


@BOOK.scenario()
def answer_to_events_is_lost(stage: Stage) -> None:
    """Reports whose answer was lost come again, and count once."""
    world = stage.ready().world
    world.faults[EVENTS].append(Fault(lose=True))
    stage.updates_to("v2")
    stage.stays("v2")
    stage.require(world.states.count("committed") == 1, f"reported {world.states}")


@BOOK.scenario()
def a_refusal_is_reported(stage: Stage) -> None:
    """An operator hears which rule an answer broke."""
    world = stage.ready().world
    world.lies.manifest.signers = ("stranger",)
    stage.refuses("unknown_key")
    stage.honest()
    stage.updates_to("v2")
    codes = {event.get("code") for event in world.events.values() if event["state"] in ("rejected", "failed")}
    stage.require("unknown_key" in codes, f"reported {codes}")


@BOOK.scenario()
def token_is_renewed(stage: Stage) -> None:
    """An access token that has ended is exchanged for another one, once."""
    world = stage.ready().world
    world.offered = None
    stage.stays("v1")
    world.offered = "v2"
    world.tokens.clear()
    before = world.logins
    stage.updates_to("v2")
    stage.require(world.logins > before, "no new token was asked for")


@BOOK.scenario()
def no_token_storm(stage: Stage) -> None:
    """A server that never accepts a token is not asked for ever."""
    world = stage.ready().world
    world.faults[POLL].extend([Fault(status=401)] * 50)
    stage.refuses("refused")
    stage.require(len(world.requests(POLL)) <= 3, f"{len(world.requests(POLL))} polls")
    world.faults.clear()
    stage.updates_to("v2")


@BOOK.scenario()
def suspended(stage: Stage) -> None:
    """A suspended device keeps its model and stops."""
    body = encode(problem(403, "device_suspended"))
    stage.ready().world.faults[TOKEN].extend([Fault(status=403, body=body)] * 8)
    stage.world.faults[POLL].extend([Fault(status=403, body=body)] * 8)
    stage.refuses("refused")
    stage.honest()
    stage.updates_to("v2")


def _refused(status: int, body: bytes | None = None) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.faults[POLL].append(Fault(status=status, body=body))
        stage.refuses("refused")
        stage.require(len(stage.world.requests(POLL)) == 1, "the same request came again")
        stage.updates_to("v2")

    BOOK.add(
        f"refused-{status}{'-without-problem' if body else ''}",
        f"Status {status} is not retried at once.",
        play,
    )


for _status in (400, 404, 409, 413, 422):
    _refused(_status)
_refused(418, b"I am a teapot")


def _other_clock(words: str, text: str, ahead_s: int) -> None:
    def play(stage: Stage) -> None:
        world = stage.ready().world
        world.tokens.clear()
        world.clock_ahead_s = ahead_s
        stage.updates_to("v2")
        stage.require(len(world.requests(TOKEN)) <= 4, "it asked for tokens again and again")

    BOOK.add(words, text, play)


_other_clock(
    "clock-a-day-behind", "A device whose clock is a day behind proves itself by the server's.", 86_400
)
_other_clock("clock-a-year-ahead", "So does one whose clock is a year ahead.", -365 * 86_400)


@BOOK.scenario()
def clock_cannot_be_set(stage: Stage) -> None:
    """A server that always complains of the clock is not asked for ever."""
    world = stage.ready().world
    world.tokens.clear()
    body = encode({**problem(401, "token_expired"), "server_time": 4_000_000_000})
    world.faults[TOKEN].extend([Fault(status=401, body=body)] * 50)
    stage.refuses("refused")
    stage.require(len(world.requests(TOKEN)) <= 6, f"{len(world.requests(TOKEN))} requests for a token")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario()
def token_endpoint_fails(stage: Stage) -> None:
    """No token, no poll, no harm."""
    stage.ready().world.tokens.clear()
    stage.world.faults[TOKEN].extend([Fault(status=500)] * 8)
    stage.world.faults[POLL].extend([Fault(status=401)] * 8)
    stage.refuses("http_5xx")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("replay")
def assertions_are_used_once(stage: Stage) -> None:
    """Each exchange of the device key for a token has an assertion of its own."""
    world = stage.ready().world
    for _ in range(3):
        world.tokens.clear()
        stage.update()
    bodies = [entry.body for entry in world.requests(TOKEN)]
    stage.require(bodies, "no token was asked for")
    stage.require(len(set(bodies)) == len(bodies), "an assertion was used twice")


@BOOK.scenario()
def event_batches_are_bounded(stage: Stage) -> None:
    """At most 50 events at a time, however many have piled up."""
    world = stage.ready().world
    world.lies.manifest.signers = ("stranger",)
    world.faults[EVENTS].extend([Fault(status=503)] * 1000)
    for _ in range(60):
        stage.update()
    stage.honest()
    stage.updates_to("v2")
    stage.stays("v2")
    sizes = [len(json.loads(entry.body)) for entry in world.requests(EVENTS)]
    stage.require(max(sizes) <= 50, f"a batch of {max(sizes)}")
    stage.require("committed" in world.states, "the last one did not arrive")
