"""Genuine versions that are too old."""

from sdk_contract.conformance.fake_server.content import random_content
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("rollback")


def _at_v2(session: Session, *, floor: int = 0) -> None:
    session.start_with_offer(floor=floor).expect_update_to("v2")
    session.server.offered = "v1"


@SUITE.scenario("rollback")
def older_version(session: Session) -> None:
    """An older version is refused without an order to roll back."""
    _at_v2(session)
    session.expect_refusal("rollback_refused", runs="v2")


@SUITE.scenario("rollback")
def unsigned_rollback(session: Session) -> None:
    """An unsigned `rollback` action is ignored."""
    _at_v2(session)
    session.server.tampering.response = lambda response: {
        **response,
        "action": "rollback",
        "reason": "rollback",
    }
    session.expect_refusal("rollback_refused", runs="v2")


@SUITE.scenario("rollback")
def below_the_floor(session: Session) -> None:
    """A version below the running version's floor is refused, even with an order to roll back."""
    _at_v2(session, floor=2)
    session.server.action = "rollback"
    session.expect_refusal("rollback_refused", runs="v2")


@SUITE.scenario("rollback")
def floor_is_remembered(session: Session) -> None:
    """The device keeps the highest floor that it accepted."""
    _at_v2(session, floor=2)
    session.offer_version("v3", 3, {"backbone": random_content("c")})
    session.expect_update_to("v3")
    session.server.offered, session.server.action = "v1", "rollback"
    session.expect_refusal("rollback_refused", runs="v3")


@SUITE.scenario("rollback")
def replayed_rollback(session: Session) -> None:
    """A recorded order to roll back is refused."""
    _at_v2(session)
    session.server.action = "rollback"
    session.server.tampering.directive.fields = lambda fields: {
        **fields,
        "nonce": "n0nce-of-yesterday-000000",
    }
    session.expect_refusal("wrong_nonce", runs="v2")


@SUITE.scenario("rollback")
def version_below_its_own_floor(session: Session) -> None:
    """A version whose counter is below its own floor is refused."""
    session.start_with_offer().server.versions["v2"].floor = 9
    session.expect_refusal("rollback_refused")


@SUITE.scenario("rollback")
def rollback_to_the_floor(session: Session) -> None:
    """A rollback to the floor itself is allowed."""
    session.start_with_offer(floor=1).expect_update_to("v2")
    session.server.offered, session.server.action = "v1", "rollback"
    session.expect_update_to("v1")


@SUITE.scenario("fast_forward")
def counter_out_of_range(session: Session) -> None:
    """A counter of 2^53 is malformed and is not remembered."""
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {**fields, "counter": 2**53}
    session.expect_refusal("malformed")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("fast_forward")
def floor_raised_too_far(session: Session) -> None:
    """A genuine manifest that raises the floor by more than 2^31 is refused and not remembered."""
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {
        **fields,
        "counter": 2**53 - 1,
        "floor": 2**53 - 1,
    }
    session.expect_refusal("fast_forward")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("fast_forward")
def refused_version_is_not_remembered(session: Session) -> None:
    """Counter and floor of a refused manifest are not remembered."""
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {
        **fields,
        "counter": 10**9,
        "floor": 10**9,
    }
    session.server.tampering.manifest.signers = ("stranger",)
    session.expect_refusal("unknown_key")
    session.restore_server()
    session.expect_update_to("v2")
