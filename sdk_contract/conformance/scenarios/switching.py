"""Stage, then flip: a version that is downloaded ahead, and switched to at the server's word.

An SDK need not be able to (`features`); then it is not offered the version before the word has been given.
"""

from sdk_contract.conformance.lies import Fault
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content

BOOK = Book("switching")


def _staged(stage: Stage) -> bool:
    """`v2` has been offered with the word to wait; was it staged?"""
    stage.ready().world.held = True
    reply = stage.update()
    stage.require(reply.exit_code == 0, f"update ended with {reply.exit_code}: waiting is no failure")
    stage.runs("v1")
    return "hold" in stage.world.polls[-1].features


@BOOK.scenario()
def staged_version_waits(stage: Stage) -> None:
    """A version that is held is staged and reported, but does not run before the word."""
    if _staged(stage):
        states = stage.world.states
        stage.require("staged" in states, f"reported {states}")
        stage.require("activating" not in states and "committed" not in states, f"reported {states}")
    stage.stays("v1")


@BOOK.scenario()
def staged_version_switches_at_the_word(stage: Stage) -> None:
    """With the word it runs at once, without another byte."""
    staged = _staged(stage)
    before = len(stage.downloaded())
    stage.world.held = False
    stage.updates_to("v2")
    stage.require(not staged or len(stage.downloaded()) == before, "it was downloaded again")
    stage.require("committed" in stage.world.states, f"reported {stage.world.states}")


@BOOK.scenario()
def staged_version_waits_without_a_network(stage: Stage) -> None:
    """No answer is no word: what is held stays staged, however often the device starts."""
    _staged(stage)
    stage.world.faults["/v1/model/update"].extend([Fault(status=503), Fault(status=503)])
    stage.update()
    stage.update()
    stage.runs("v1")
    stage.honest()
    stage.world.held = False
    stage.updates_to("v2")


@BOOK.scenario()
def staged_version_is_not_staged_again(stage: Stage) -> None:
    """A device that waits asks, and does nothing else."""
    if not _staged(stage):
        return
    before = len(stage.downloaded())
    stage.stays("v1")
    stage.stays("v1")
    stage.require(len(stage.downloaded()) == before, "it was downloaded again")
    stage.require(stage.world.states.count("staged") == 1, f"reported {stage.world.states}")


@BOOK.scenario()
def staged_version_is_withdrawn(stage: Stage) -> None:
    """What is withdrawn while it is staged never runs."""
    _staged(stage)
    stage.world.offered = None
    stage.stays("v1")
    stage.world.held = False
    stage.stays("v1")


@BOOK.scenario()
def staged_version_is_overtaken(stage: Stage) -> None:
    """A newer version that need not wait takes its place."""
    _staged(stage)
    stage.world.publish("v3", 3, {"backbone": content("c")})
    stage.world.offered, stage.world.held, stage.world.attempts = "v3", False, 2
    stage.updates_to("v3")


@BOOK.scenario()
def plain_field_says_now(stage: Stage) -> None:
    """Only the signed directive gives the word."""
    _staged(stage)
    stage.world.lies.answer = lambda answer: {**answer, "activation": "now", "ext": {"activation": "now"}}
    stage.stays("v1")
