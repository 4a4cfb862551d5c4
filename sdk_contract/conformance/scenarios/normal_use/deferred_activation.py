"""A version that is staged ahead and activated when the server allows it.

The feature is optional. An SDK that does not announce `deferred_activation` is offered the version at activation.
"""

from sdk_contract.conformance.fake_server.content import random_content
from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("deferred_activation")


def _stage_v2(session: Session) -> bool:
    """Offer `v2` with deferred activation; return whether the SDK supports it."""
    session.start_with_offer().server.defer_activation = True
    result = session.update()
    session.require(result.exit_code == 0, f"update ended with {result.exit_code}: waiting is not a failure")
    session.expect_running("v1")
    return "deferred_activation" in session.server.polls[-1].features


@SUITE.scenario()
def staged_version_waits(session: Session) -> None:
    """A version with deferred activation is staged and reported, but does not run."""
    if _stage_v2(session):
        states = session.server.reported_states
        session.require("staged" in states, f"reported {states}")
        session.require("activating" not in states and "committed" not in states, f"reported {states}")
    session.expect_unchanged("v1")


@SUITE.scenario()
def staged_version_is_activated(session: Session) -> None:
    """A directive without deferral activates the staged version without another download."""
    staged = _stage_v2(session)
    before = len(session.downloaded_digests())
    session.server.defer_activation = False
    session.expect_update_to("v2")
    session.require(not staged or len(session.downloaded_digests()) == before, "it was downloaded again")
    session.require(
        "committed" in session.server.reported_states, f"reported {session.server.reported_states}"
    )


@SUITE.scenario()
def staged_version_waits_offline(session: Session) -> None:
    """A failed poll does not activate a staged version, also after a restart."""
    _stage_v2(session)
    session.server.faults["/v1/model/update"].extend([Fault(status=503), Fault(status=503)])
    session.update()
    session.update()
    session.expect_running("v1")
    session.restore_server()
    session.server.defer_activation = False
    session.expect_update_to("v2")


@SUITE.scenario()
def staged_version_is_staged_once(session: Session) -> None:
    """While a device waits, it polls; it neither downloads nor reports `staged` again."""
    if not _stage_v2(session):
        return
    before = len(session.downloaded_digests())
    session.expect_unchanged("v1")
    session.expect_unchanged("v1")
    session.require(len(session.downloaded_digests()) == before, "it was downloaded again")
    session.require(
        session.server.reported_states.count("staged") == 1, f"reported {session.server.reported_states}"
    )


@SUITE.scenario()
def staged_version_is_withdrawn(session: Session) -> None:
    """A staged version that is withdrawn never runs."""
    _stage_v2(session)
    session.server.offered = None
    session.expect_unchanged("v1")
    session.server.defer_activation = False
    session.expect_unchanged("v1")


@SUITE.scenario()
def staged_version_is_superseded(session: Session) -> None:
    """A newer version without deferral replaces the staged version."""
    _stage_v2(session)
    session.server.publish("v3", 3, {"backbone": random_content("c")})
    session.server.offered, session.server.defer_activation, session.server.attempt_number = "v3", False, 2
    session.expect_update_to("v3")


@SUITE.scenario()
def unsigned_activation_is_ignored(session: Session) -> None:
    """Only the signed directive activates a staged version."""
    _stage_v2(session)
    session.server.tampering.response = lambda response: {
        **response,
        "activation": "now",
        "ext": {"activation": "now"},
    }
    session.expect_unchanged("v1")
