"""Old but genuine versions."""

from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content

BOOK = Book("rollback")


def _at_v2(stage: Stage, *, floor: int = 0) -> None:
    stage.ready(floor=floor).updates_to("v2")
    stage.world.offered = "v1"


@BOOK.scenario("rollback")
def older_version(stage: Stage) -> None:
    """An older version is refused where nobody ordered it."""
    _at_v2(stage)
    stage.refuses("rollback", runs="v2")


@BOOK.scenario("rollback")
def plain_field_says_rollback(stage: Stage) -> None:
    """The unsigned action orders nothing."""
    _at_v2(stage)
    stage.world.lies.answer = lambda answer: {**answer, "action": "rollback", "reason": "rollback"}
    stage.refuses("rollback", runs="v2")


@BOOK.scenario("rollback")
def below_the_floor(stage: Stage) -> None:
    """Below the floor of the version that runs nothing is installed, not even by order."""
    _at_v2(stage, floor=2)
    stage.world.action = "rollback"
    stage.refuses("rollback", runs="v2")


@BOOK.scenario("rollback")
def floor_is_remembered(stage: Stage) -> None:
    """The floor stays when a later version has a lower one."""
    _at_v2(stage, floor=2)
    stage.world.publish("v3", 3, {"backbone": content("c")})
    stage.world.offered = "v3"
    stage.updates_to("v3")
    stage.world.offered, stage.world.action = "v1", "rollback"
    stage.refuses("rollback", runs="v3")


@BOOK.scenario("rollback")
def recorded_rollback(stage: Stage) -> None:
    """An order to go back from another day is not followed."""
    _at_v2(stage)
    stage.world.action = "rollback"
    stage.world.lies.directive.fields = lambda fields: {**fields, "nonce": "n0nce-of-yesterday-000000"}
    stage.refuses("wrong_nonce", runs="v2")


@BOOK.scenario("rollback")
def version_below_its_own_floor(stage: Stage) -> None:
    """A version that forbids itself is refused."""
    stage.ready().world.versions["v2"].floor = 9
    stage.refuses("rollback")


@BOOK.scenario("rollback")
def floor_on_an_order_back(stage: Stage) -> None:
    """An order may go back to the floor itself."""
    stage.ready(floor=1).updates_to("v2")
    stage.world.offered, stage.world.action = "v1", "rollback"
    stage.updates_to("v1")


@BOOK.scenario("fast_forward")
def counter_beyond_all_libraries(stage: Stage) -> None:
    """A counter of 2^53 is malformed, and does not raise anything."""
    stage.ready().world.lies.manifest.fields = lambda fields: {**fields, "counter": 2**53}
    stage.refuses("malformed")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("fast_forward")
def floor_that_leaps(stage: Stage) -> None:
    """A genuine manifest whose floor leaps by more than 2^31 is refused, and leaves no trace."""
    stage.ready().world.lies.manifest.fields = lambda fields: {
        **fields,
        "counter": 2**53 - 1,
        "floor": 2**53 - 1,
    }
    stage.refuses("fast_forward")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("fast_forward")
def refused_versions_leave_no_trace(stage: Stage) -> None:
    """Counter and floor of a manifest that was not accepted are not remembered."""
    stage.ready().world.lies.manifest.fields = lambda fields: {**fields, "counter": 10**9, "floor": 10**9}
    stage.world.lies.manifest.signers = ("stranger",)
    stage.refuses("unknown_key")
    stage.honest()
    stage.updates_to("v2")
