"""Genuine answers at the wrong time, to the wrong device, or to another question."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sdk_contract.conformance.facts import later, sha
from sdk_contract.conformance.lies import Fields
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage
from sdk_contract.documents import timestamp

BOOK = Book("freshness")


def _directive(words: str, text: str, lie: Fields, code: str, attack: str) -> None:
    for offered in ("v2", None):
        _one(words if offered else f"{words}-in-a-no", text, lie, code, attack, offered=offered)


def _one(words: str, text: str, lie: Fields, code: str, attack: str, *, offered: str | None) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.offered = offered
        stage.world.lies.directive.fields = lambda fields: {**fields, **lie}
        stage.refuses(code)
        stage.honest()
        stage.world.offered = "v2"
        stage.updates_to("v2")

    BOOK.add(words, text, play, attack)


_directive(
    "other-device",
    "An answer for another device is refused.",
    {"device_id": "dev-2"},
    "wrong_device",
    "replay",
)
_directive(
    "other-nonce",
    "An answer to another poll is refused.",
    {"nonce": "n0nce-of-yesterday-000000"},
    "wrong_nonce",
    "freeze",
)
_directive(
    "other-request",
    "An answer to other request bytes is refused.",
    {"request_sha256": sha(b"other")},
    "wrong_request",
    "replay",
)
_one(
    "no-nonce",
    "An answer without the nonce is refused.",
    {"nonce": ""},
    "wrong_nonce",
    "freeze",
    offered="v2",
)
_PAST = timestamp(datetime.now(UTC) - timedelta(days=400))
_one(
    "directive-expired-at-issue",
    "A directive that expires the moment it was issued starts nothing.",
    {"issued": _PAST, "expires": _PAST},
    "expired",
    "freeze",
    offered="v2",
)


def _recorded(words: str, text: str, record: Callable[[Stage], None]) -> None:
    def play(stage: Stage) -> None:
        kept: list[bytes] = []

        def keep(body: bytes) -> bytes:
            kept.append(body)
            return body

        stage.ready()
        stage.world.lies.body = keep
        record(stage)
        stage.world.lies.body = lambda _: kept[0]
        stage.refuses("wrong_nonce")
        stage.honest()
        stage.world.offered = "v2"
        stage.updates_to("v2")

    BOOK.add(words, text, play, "freeze")


def _record_a_no(stage: Stage) -> None:
    stage.world.offered = None
    stage.stays("v1")


_recorded("recorded-no", "A no that was recorded earlier does not freeze the device.", _record_a_no)


@BOOK.scenario("freeze")
def manifest_expired(stage: Stage) -> None:
    """A manifest whose time is over starts no new install; what runs keeps running."""
    stage.ready().world.lies.manifest.fields = lambda fields: {**fields, "expires": later(days=-1)}
    stage.refuses("expired")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("freeze")
def trust_expired(stage: Stage) -> None:
    """A trust bundle whose time is over starts no new install; a fresh one does."""
    stage.world.chain[0] = stage.shipped_trust = stage.world.trust(1, ("root",), expires=later(days=-1))
    stage.ready().refuses("expired")
    stage.world.chain.append(stage.world.trust(2, ("root",)))
    stage.updates_to("v2")


@BOOK.scenario("freeze")
def trust_expired_while_running(stage: Stage) -> None:
    """Expiry takes nothing away: a no is a no, and the model runs."""
    stage.world.chain[0] = stage.shipped_trust = stage.world.trust(1, ("root",), expires=later(days=-1))
    stage.ready().world.offered = None
    stage.stays("v1")


@BOOK.scenario("freeze")
def answer_without_directive(stage: Stage) -> None:
    """An answer that nobody has signed is no answer."""
    stage.ready().world.lies.answer = lambda answer: {**answer, "directive": {}}
    stage.refuses("malformed")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("freeze")
def back_dated_by_a_thief(stage: Stage) -> None:
    """A stolen director key cannot make an old manifest young: the newest signature ever seen counts."""
    stage.ready().world.offered = None
    stage.stays("v1")
    stage.world.offered = "v2"
    stage.world.lies.directive.fields = lambda fields: {
        **fields,
        "issued": _PAST,
        "expires": timestamp(datetime.now(UTC) - timedelta(days=399)),
    }
    stage.world.lies.manifest.fields = lambda fields: {**fields, "expires": later(days=-100)}
    stage.refuses("expired")
