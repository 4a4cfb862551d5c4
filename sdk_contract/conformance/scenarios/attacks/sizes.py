"""More bytes than were signed, or than a limit allows."""

from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.tampering import EditFields, Fields
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("sizes")
ATTACK = "endless_data"
MAX_READ = 16 << 20
"""A client that reads more of an endless response than this has no limit."""


def _add_oversize(document: str, size: int) -> None:
    def run(session: Session) -> None:
        forgery = getattr(session.start_with_offer().server.tampering, document)
        forgery.fields = lambda fields: {**fields, "ext": {"x": "a" * size}}
        session.expect_refusal("oversize")
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(f"{document}-oversize", f"A genuine {document} above its size limit is refused.", run, ATTACK)


_add_oversize("directive", 17_000)
_add_oversize("manifest", 66_000)


@SUITE.scenario(ATTACK)
def endless_response(session: Session) -> None:
    """A poll response that never ends is aborted."""
    server = session.start_with_offer().server
    server.faults["/v1/model/update"].append(Fault(status=200, endless=True))
    session.expect_refusal("oversize", "unreachable")
    session.require(server.bytes_sent < MAX_READ, f"the SDK read {server.bytes_sent} bytes")
    session.expect_update_to("v2")


@SUITE.scenario(ATTACK)
def endless_object(session: Session) -> None:
    """A download is stopped at the signed size."""
    server = session.start_with_offer().server
    server.faults["/objects/"].append(Fault(endless=True))
    session.expect_update_to("v2")
    session.require(server.bytes_sent < MAX_READ, f"the SDK read {server.bytes_sent} bytes")


@SUITE.scenario(ATTACK)
def object_longer_than_signed(session: Session) -> None:
    """Bytes after the signed size do not become part of the file."""
    server = session.start_with_offer().server
    data = server.versions["v2"].files["backbone"]
    server.faults["/objects/"].append(Fault(body=data + b"more", ignore_range=True))
    session.expect_update_to("v2")


@SUITE.scenario(ATTACK)
def endless_trust_response(session: Session) -> None:
    """A trust response that never ends is aborted."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root",)))
    server.faults["/v1/trust"].append(Fault(endless=True))
    session.expect_refusal("oversize", "unreachable")
    session.require(server.bytes_sent < MAX_READ, f"the SDK read {server.bytes_sent} bytes")
    session.expect_update_to("v2")


@SUITE.scenario(ATTACK)
def not_enough_space(session: Session) -> None:
    """Without enough disk space nothing is downloaded; the device waits and keeps its version."""
    session.start_with_offer().server.tampering.manifest.fields = _set_size(1 << 52)
    session.server.tampering.option = lambda option: {**option, "size": 1 << 52}
    result = session.update()
    session.require(result.exit_code == 0, f"update ended with {result.exit_code}: waiting is not a failure")
    session.require(result.code == "no_space", f"the code is {result.code}, must be no_space")
    session.require(not session.downloaded_digests(), "a download was started")
    session.expect_running("v1")
    session.restore_server()
    session.server.attempt_number += 1
    session.expect_update_to("v2")


@SUITE.scenario(ATTACK)
def option_with_another_size(session: Session) -> None:
    """A download option whose size is not the manifest's is not used."""
    session.start_with_offer().server.tampering.option = lambda option: {**option, "size": option["size"] + 1}
    session.expect_refusal("mixed_versions")
    session.require(not session.downloaded_digests(), "the file was downloaded")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario(ATTACK)
def too_many_variants(session: Session) -> None:
    """A manifest with more than 64 variants is refused."""
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {
        **fields,
        "variants": [{**fields["variants"][0], "name": f"v{n}"} for n in range(65)],
    }
    session.expect_refusal("malformed")
    session.restore_server()
    session.expect_update_to("v2")


def _set_size(size: int) -> EditFields:
    def edit(fields: Fields) -> Fields:
        first, *others = fields["variants"][0]["components"]
        parts = [{**first, "size": size}, *others]
        return {**fields, "variants": [{"name": "default", "components": parts}]}

    return edit
