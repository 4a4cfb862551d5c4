"""Disks, crashes, and models that do not do their work."""

from collections.abc import Callable
from pathlib import Path

from sdk_contract.conformance.facts import sha
from sdk_contract.conformance.lies import Fault
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import SIZE, Skipped, Stage, content, damage

BOOK = Book("living")
OBJECTS = "/objects/"


@BOOK.scenario()
def bad_model(stage: Stage) -> None:
    """A version that fails its smoke test is taken back, and the operator hears of it."""
    reply = stage.ready().update(smoke="bad")
    stage.require(reply.exit_code == 1, f"exit {reply.exit_code}, must be 1")
    stage.require(reply.told.get("outcome") == "rolled_back", f"told {reply.told}")
    stage.require(reply.code == "smoke_failed", f"the code is {reply.code}")
    stage.runs("v1")
    stage.require("rolled_back" in stage.world.states, f"reported {stage.world.states}")


@BOOK.scenario()
def bad_model_is_not_tried_again(stage: Stage) -> None:
    """A version that failed here is refused the next time, without a download."""
    stage.ready().update(smoke="bad")
    before = len(stage.downloaded())
    stage.refuses("known_bad")
    stage.require(len(stage.downloaded()) == before, "it was downloaded again")


@BOOK.scenario()
def next_version_after_a_bad_one(stage: Stage) -> None:
    """A newer version is tried as usual."""
    stage.ready().update(smoke="bad")
    stage.world.publish("v3", 3, {"backbone": content("c")})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def bad_model_may_be_ordered_again(stage: Stage) -> None:
    """Unless the directive says to try again."""
    stage.ready().update(smoke="bad")
    stage.world.lies.directive.fields = lambda fields: {**fields, "ext": {"retry": True}}
    stage.updates_to("v2")


@BOOK.scenario()
def model_kills_the_process(stage: Stage) -> None:
    """A version that ends the process each time is taken back after the second time."""
    _needs_processes(stage)
    stage.ready()
    for _ in range(2):
        stage.update(smoke="crash")
    stage.update()
    stage.runs("v1")
    stage.refuses("known_bad")


def _needs_processes(stage: Stage) -> None:
    if not stage.sdk.separate:
        raise Skipped("needs an SDK in a process of its own")


@BOOK.scenario()
def killed_while_downloading(stage: Stage) -> None:
    """A device that loses power in a download runs the old model, and then finishes."""
    stage.ready().world.faults[OBJECTS].append(Fault(stall=20_000))
    stage.interrupt(lambda: stage.world.sent >= 20_000)
    stage.runs("v1")
    stage.updates_to("v2")


@BOOK.scenario()
def killed_while_reporting(stage: Stage) -> None:
    """A device that loses power at the end has one whole version."""
    stage.ready().world.faults["/v1/model/events"].append(Fault(stall=0))
    stage.interrupt(lambda: bool(stage.world.requests("/v1/model/events")))
    stage.updates_to("v2")


@BOOK.scenario()
def killed_while_asking(stage: Stage) -> None:
    """A device that loses power in a poll has lost nothing."""
    stage.ready().world.faults["/v1/model/update"].append(Fault(status=200, body=b"{}", stall=0))
    stage.interrupt(lambda: bool(stage.world.requests("/v1/model/update")))
    stage.runs("v1")
    stage.updates_to("v2")


@BOOK.scenario()
def killed_again_and_again(stage: Stage) -> None:
    """Nor does it help to pull the plug three times."""
    for number in range(3):
        if number == 0:
            stage.ready()
        stage.world.faults[OBJECTS].append(Fault(stall=5_000))
        stage.interrupt(_sent(stage, stage.world.sent + 5_000))
        stage.runs("v1")
    stage.updates_to("v2")


@BOOK.scenario()
def damaged_partial_file(stage: Stage) -> None:
    """What an interrupted download left behind may be damaged: it is found before it counts."""
    world = stage.ready().world
    world.faults[OBJECTS].extend([Fault(cut=40_000)] + [Fault(cut=0)] * 20)
    stage.update()
    before = {path for path in _files(stage.directory) if path.stat().st_size > 8_000}
    known = {sha(data) for version in world.versions.values() for data in version.files.values()}
    for path in before:
        if sha(path.read_bytes()) not in known:
            damage(path)
    stage.honest()
    stage.update()
    stage.updates_to("v2")


@BOOK.scenario()
def old_files_go(stage: Stage) -> None:
    """Versions do not pile up: after five updates the disk holds the size of a few."""
    world = stage.ready().world
    for number in range(3, 8):
        world.publish(f"v{number}", number, {"backbone": content(f"c{number}")})
        world.offered = f"v{number}"
        stage.updates_to(f"v{number}")
    held = sum(path.stat().st_size for path in _files(stage.directory))
    stage.require(held < 4 * SIZE, f"{held} bytes on disk for a model of {SIZE}")


@BOOK.scenario()
def nothing_is_written_elsewhere(stage: Stage) -> None:
    """The device directory is the only place that an update writes to."""
    stage.ready().updates_to("v2")
    others = {path.name for path in stage.folder.iterdir()} - {"device", "trust.json", "shipped"}
    stage.require(not others, f"it left {sorted(others)} beside the device directory")


def _sent(stage: Stage, size: int) -> Callable[[], bool]:
    return lambda: stage.world.sent >= size


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
