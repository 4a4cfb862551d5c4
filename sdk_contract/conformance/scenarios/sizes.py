"""More bytes than were signed, or than can be meant."""

from sdk_contract.conformance.lies import Edit, Fault, Fields
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage

BOOK = Book("sizes")
ATTACK = "endless_data"
ENOUGH = 16 << 20
"""A client that took more than this of an endless answer has no bound."""


def _stuffed(document: str, size: int) -> None:
    def play(stage: Stage) -> None:
        forgery = getattr(stage.ready().world.lies, document)
        forgery.fields = lambda fields: {**fields, "ext": {"x": "a" * size}}
        stage.refuses("oversize")
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(
        f"{document}-oversize", f"A {document} above its bound is refused, however well signed.", play, ATTACK
    )


_stuffed("directive", 17_000)
_stuffed("manifest", 66_000)


@BOOK.scenario(ATTACK)
def endless_answer(stage: Stage) -> None:
    """A poll's answer that never ends is given up."""
    world = stage.ready().world
    world.faults["/v1/model/update"].append(Fault(status=200, endless=True))
    stage.refuses("oversize", "unreachable")
    stage.require(world.sent < ENOUGH, f"it took {world.sent} bytes")
    stage.updates_to("v2")


@BOOK.scenario(ATTACK)
def endless_object(stage: Stage) -> None:
    """The signed size is a hard stop for a download."""
    world = stage.ready().world
    world.faults["/objects/"].append(Fault(endless=True))
    stage.updates_to("v2")
    stage.require(world.sent < ENOUGH, f"it took {world.sent} bytes")


@BOOK.scenario(ATTACK)
def longer_object(stage: Stage) -> None:
    """Bytes behind the signed size do not become part of the file."""
    world = stage.ready().world
    data = world.versions["v2"].files["backbone"]
    world.faults["/objects/"].append(Fault(body=data + b"more", ignore_range=True))
    stage.updates_to("v2")


@BOOK.scenario(ATTACK)
def endless_trust_chain(stage: Stage) -> None:
    """A chain of bundles that never ends is given up."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root",)))
    world.faults["/v1/trust"].append(Fault(endless=True))
    stage.refuses("oversize", "unreachable")
    stage.require(world.sent < ENOUGH, f"it took {world.sent} bytes")
    stage.updates_to("v2")


@BOOK.scenario(ATTACK)
def signed_size_without_room(stage: Stage) -> None:
    """No room: nothing is downloaded, it is no error, and the old model runs."""
    stage.ready().world.lies.manifest.fields = _sized(1 << 52)
    stage.world.lies.way = lambda way: {**way, "size": 1 << 52}
    reply = stage.update()
    stage.require(reply.exit_code == 0, f"waiting for room is no failure, exit {reply.exit_code}")
    stage.require(reply.code == "no_space", f"the code is {reply.code}, must be no_space")
    stage.require(not stage.downloaded(), "a download was begun")
    stage.runs("v1")
    stage.honest()
    stage.world.attempts += 1
    stage.updates_to("v2")


@BOOK.scenario(ATTACK)
def way_of_another_size(stage: Stage) -> None:
    """A way whose size is not the manifest's is not used."""
    stage.ready().world.lies.way = lambda way: {**way, "size": way["size"] + 1}
    stage.refuses("mixed_versions")
    stage.require(not stage.downloaded(), "it was fetched")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario(ATTACK)
def too_many_variants(stage: Stage) -> None:
    """More than 64 variants are refused."""
    stage.ready().world.lies.manifest.fields = lambda fields: {
        **fields,
        "variants": [{**fields["variants"][0], "name": f"v{n}"} for n in range(65)],
    }
    stage.refuses("malformed")
    stage.honest()
    stage.updates_to("v2")


def _sized(size: int) -> Edit:
    def edit(fields: Fields) -> Fields:
        first, *others = fields["variants"][0]["components"]
        parts = [{**first, "size": size}, *others]
        return {**fields, "variants": [{"name": "default", "components": parts}]}

    return edit
