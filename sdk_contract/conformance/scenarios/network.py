"""A network that cuts, stalls, drips, redirects and damages."""

from sdk_contract.conformance.facts import sha
from sdk_contract.conformance.lies import Fault
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import SIZE, Stage
from sdk_contract.conformance.world import World

BOOK = Book("network")
OBJECTS = "/objects/"
POLL = "/v1/model/update"


def _gets_through(words: str, text: str, *faults: Fault, attack: str | None = None) -> None:
    """One update in spite of the faults."""

    def play(stage: Stage) -> None:
        stage.ready().world.faults[OBJECTS].extend(faults)
        stage.updates_to("v2")
        stage.require(not stage.world.faults[OBJECTS], "it gave up before the network did")

    BOOK.add(words, text, play, attack)


_gets_through("cut-once", "A download that is cut is resumed.", Fault(cut=20_000))
_gets_through("cut-twice", "And resumed again.", Fault(cut=20_000), Fault(cut=9_000))
_gets_through("cut-before-the-first-byte", "Cut before the first byte.", Fault(cut=0))
_gets_through("cut-at-the-last-byte", "Cut before the last byte.", Fault(cut=SIZE + 511))
_gets_through("length-lies", "More bytes announced than come.", Fault(claim=1000))
_gets_through("range-ignored", "A store without ranges.", Fault(cut=20_000), Fault(ignore_range=True))
_gets_through(
    "range-too-late",
    "A range that begins behind the one asked for is not used.",
    Fault(cut=20_000),
    Fault(shift=7),
)
_gets_through(
    "range-too-early",
    "One that begins before it is cut to shape, or not used.",
    Fault(cut=20_000),
    Fault(shift=-7),
)
_gets_through("busy-store", "A store that is busy for a moment.", Fault(status=503))
_gets_through(
    "stalled-once", "A download that falls silent is resumed.", Fault(stall=20_000), attack="slow_retrieval"
)
_gets_through(
    "too-slow-once",
    "A download that drips is given up and resumed.",
    Fault(drip=1000),
    attack="slow_retrieval",
)


@BOOK.scenario()
def resume_asks_for_the_rest(stage: Stage) -> None:
    """After a cut only what is missing is asked for."""
    stage.ready().world.faults[OBJECTS].append(Fault(cut=20_000))
    stage.updates_to("v2")
    ranges = [entry.headers.get("Range", "") for entry in stage.world.requests(OBJECTS)]
    stage.require(
        len(ranges) >= 2 and ranges[-1].startswith("bytes=") and ranges[-1] != ranges[0],
        f"asked for {ranges}",
    )


@BOOK.scenario("slow_retrieval")
def always_stalls(stage: Stage) -> None:
    """A store that always falls silent ends the update, not the patience of the device."""
    stage.ready().world.faults[OBJECTS].extend([Fault(stall=0)] * 60)
    stage.refuses("timeout", "slow", "unreachable")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("slow_retrieval")
def one_byte_per_connection(stage: Stage) -> None:
    """A mirror that gives next to nothing per connection is given up."""
    stage.ready().world.faults[OBJECTS].extend([Fault(cut=1)] * 200)
    stage.refuses("unreachable")
    stage.require(len(stage.downloaded()) < 100, "it came back for ever")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("slow_retrieval")
def poll_stalls(stage: Stage) -> None:
    """A poll that is never answered ends."""
    stage.ready().world.faults[POLL].append(Fault(status=200, body=b"{}", stall=0))
    stage.refuses("timeout")
    stage.updates_to("v2")


def _damaged(words: str, text: str, fault: Fault, attack: str | None) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.faults[OBJECTS].extend([fault] * 16)
        stage.refuses("input_hash_mismatch")
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, attack)


_damaged("one-bit", "One wrong bit in a file is found.", Fault(flip=777), "malicious_mirror")
_damaged("last-bit", "In its last byte, too.", Fault(flip=SIZE + 511), "malicious_mirror")
_damaged(
    "zeros", "A file of zeros is found.", Fault(body=bytes(SIZE + 512), ignore_range=True), "malicious_mirror"
)


@BOOK.scenario("malicious_mirror")
def damaged_before_a_resume(stage: Stage) -> None:
    """Damage in the part before a cut is found at the end."""
    stage.ready().world.faults[OBJECTS].extend([Fault(flip=5, cut=20_000)])
    stage.update()
    stage.update()
    stage.updates_to("v2")


def _api(words: str, text: str, fault: Fault, *codes: str) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.faults[POLL].append(fault)
        stage.refuses(*codes)
        stage.updates_to("v2")

    BOOK.add(words, text, play)


_api("poll-500", "A server that fails is asked again later.", Fault(status=500), "http_5xx")
_api("poll-503", "So is a busy one.", Fault(status=503, headers={"Retry-After": "7"}), "http_5xx")
_api(
    "poll-429",
    "So is one that asks for patience.",
    Fault(status=429, headers={"Retry-After": "7"}),
    "http_5xx",
)
_api("poll-lost", "An answer that never comes is a failure.", Fault(lose=True), "unreachable")
_api(
    "poll-cut",
    "So is one that is cut.",
    Fault(status=200, body=b'{"need_update":true', claim=99),
    "unreachable",
)
_api(
    "poll-html",
    "So is the page of a hotel's network.",
    Fault(status=200, body=b"<html>Welcome!</html>"),
    "unreachable",
    "malformed",
)


@BOOK.scenario("malicious_mirror")
def poll_redirected(stage: Stage) -> None:
    """A redirect is not followed: the token would travel with it."""
    world = stage.ready().world
    world.faults[POLL].append(Fault(status=307, headers={"Location": f"{world.base}/elsewhere"}))
    stage.refuses("refused", "unreachable")
    stage.require(not world.requests("/elsewhere"), "it was followed")
    stage.updates_to("v2")


def _elsewhere(words: str, text: str, url: str) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.lies.way = lambda way: {**way, "url": url}
        reply = stage.update()
        stage.require(reply.exit_code == 1, f"exit {reply.exit_code}, must fail")
        stage.runs("v1")
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, "malicious_mirror")


_elsewhere("address-of-a-file", "An address may not name a file of the device.", "file:///etc/hosts")
_elsewhere("address-of-nobody", "An address where nobody listens is a failure.", "http://127.0.0.1:9/x")
_elsewhere("address-without-scheme", "An address without a scheme is a failure.", "nowhere")
_elsewhere("address-of-another-kind", "So is one of another protocol.", "ftp://127.0.0.1/x")
_elsewhere("address-with-line-feed", "So is one that would smuggle a header.", "http://127.0.0.1:9/x\r\nX: y")
_elsewhere("address-broken", "So is one that no parser reads.", "http://[::1/x")


def _expired(status: int) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.faults[OBJECTS].append(Fault(status=status))
        before = len(stage.world.polls)
        stage.updates_to("v2")
        stage.require(len(stage.world.polls) == before + 2, "it must ask once more, for a fresh address")

    BOOK.add(
        f"address-expired-{status}",
        f"Status {status} of a store: ask for a fresh address, in the same attempt.",
        play,
    )


for _status in (403, 404, 410):
    _expired(_status)


@BOOK.scenario()
def fresh_addresses_run_out(stage: Stage) -> None:
    """A store that refuses every address ends the update; the next one goes on."""
    stage.ready().world.faults[OBJECTS].extend([Fault(status=403)] * 60)
    stage.refuses("url_expired")
    stage.require(len(stage.world.polls) < 10, "it polled in a storm")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario()
def order_changes_in_between(stage: Stage) -> None:
    """Asked for a fresh address, the server withdraws the offer: nothing is installed."""
    world = stage.ready().world
    world.faults[OBJECTS].append(Fault(status=403))
    first: list[int] = []

    def withdraw(body: bytes) -> bytes:
        first.append(1)
        world.offered = None
        return body

    world.lies.body = withdraw
    reply = stage.update()
    stage.require(reply.exit_code == 0, f"exit {reply.exit_code}, must be fine")
    stage.runs("v1")


@BOOK.scenario()
def server_is_away(stage: Stage) -> None:
    """Nobody answers: a failure that changes nothing."""
    world = stage.ready().world
    _deaf(world)
    stage.refuses("unreachable")
    stage.honest()
    stage.updates_to("v2")


def _deaf(world: World) -> None:
    for path in ("/v1/device/token", POLL, "/v1/model/events"):
        world.faults[path].extend([Fault(lose=True)] * 8)


@BOOK.scenario()
def interrupted_update_is_resumed_later(stage: Stage) -> None:
    """What was downloaded before a failure is not downloaded again."""
    world = stage.ready().world
    world.faults[OBJECTS].extend([Fault(cut=40_000)] + [Fault(cut=0)] * 20)
    stage.refuses("unreachable")
    stage.honest()
    before = world.sent
    stage.updates_to("v2")
    stage.require(world.sent - before < SIZE, f"{world.sent - before} bytes were sent for the rest of {SIZE}")
    stage.require(sha(world.versions["v2"].files["backbone"]) in stage.downloaded(), "nothing was fetched")
