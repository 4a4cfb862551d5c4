"""Power cuts, disks, and models that fail on the device."""

from collections.abc import Callable
from pathlib import Path

from sdk_contract.conformance.fake_server.content import SIZE, flip_one_byte, random_content
from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.values import sha256_hex
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import ScenarioSkipped, Session

SUITE = Suite("resilience")
OBJECTS = "/objects/"


@SUITE.scenario()
def failed_smoke_test(session: Session) -> None:
    """A version that fails its smoke test is rolled back, and the rollback is reported."""
    result = session.start_with_offer().update(smoke="bad")
    session.require(result.exit_code == 1, f"exit {result.exit_code}, must be 1")
    session.require(result.output.get("outcome") == "rolled_back", f"output {result.output}")
    session.require(result.code == "smoke_failed", f"the code is {result.code}")
    session.expect_running("v1")
    session.require(
        "rolled_back" in session.server.reported_states, f"reported {session.server.reported_states}"
    )


@SUITE.scenario()
def failed_version_is_not_tried_again(session: Session) -> None:
    """A version that failed on this device is refused without a download."""
    session.start_with_offer().update(smoke="bad")
    before = len(session.downloaded_digests())
    session.expect_refusal("version_blocked")
    session.require(len(session.downloaded_digests()) == before, "the version was downloaded again")


@SUITE.scenario()
def next_version_after_a_failed_one(session: Session) -> None:
    """After a failed version, a newer one is installed as usual."""
    session.start_with_offer().update(smoke="bad")
    session.offer_version("v3", 3, {"backbone": random_content("c")})
    session.expect_update_to("v3")


@SUITE.scenario()
def failed_version_with_retry(session: Session) -> None:
    """A failed version is tried again if the directive carries `ext.retry: true`."""
    session.start_with_offer().update(smoke="bad")
    session.server.tampering.directive.fields = lambda fields: {**fields, "ext": {"retry": True}}
    session.expect_update_to("v2")


@SUITE.scenario()
def crash_loop(session: Session) -> None:
    """A version that crashes the process twice is rolled back."""
    _require_processes(session)
    session.start_with_offer()
    for _ in range(2):
        session.update(smoke="crash")
    session.update()
    session.expect_running("v1")
    session.expect_refusal("version_blocked")


def _require_processes(session: Session) -> None:
    if not session.sdk.is_process:
        raise ScenarioSkipped("needs an SDK that runs in a separate process")


@SUITE.scenario()
def killed_while_downloading(session: Session) -> None:
    """After a power cut in a download the old version runs, and the update can be finished."""
    session.start_with_offer().server.faults[OBJECTS].append(Fault(stall_after=20_000))
    session.interrupt(lambda: session.server.bytes_sent >= 20_000)
    session.expect_running("v1")
    session.expect_update_to("v2")


@SUITE.scenario()
def killed_while_reporting(session: Session) -> None:
    """After a power cut while reporting, one complete version runs."""
    session.start_with_offer().server.faults["/v1/model/events"].append(Fault(stall_after=0))
    session.interrupt(lambda: bool(session.server.requests_to("/v1/model/events")))
    session.expect_update_to("v2")


@SUITE.scenario()
def killed_while_polling(session: Session) -> None:
    """After a power cut in a poll nothing has changed."""
    session.start_with_offer().server.faults["/v1/model/update"].append(
        Fault(status=200, body=b"{}", stall_after=0)
    )
    session.interrupt(lambda: bool(session.server.requests_to("/v1/model/update")))
    session.expect_running("v1")
    session.expect_update_to("v2")


@SUITE.scenario()
def killed_three_times(session: Session) -> None:
    """After three power cuts in a row the update can still be finished."""
    for number in range(3):
        if number == 0:
            session.start_with_offer()
        session.server.faults[OBJECTS].append(Fault(stall_after=5_000))
        session.interrupt(_sent(session, session.server.bytes_sent + 5_000))
        session.expect_running("v1")
    session.expect_update_to("v2")


@SUITE.scenario()
def corrupt_partial_download(session: Session) -> None:
    """A partial download that was corrupted on disk is detected."""
    server = session.start_with_offer().server
    server.faults[OBJECTS].extend([Fault(cut_after=40_000)] + [Fault(cut_after=0)] * 20)
    session.update()
    before = {path for path in _files(session.directory) if path.stat().st_size > 8_000}
    known = {sha256_hex(data) for version in server.versions.values() for data in version.files.values()}
    for path in before:
        if sha256_hex(path.read_bytes()) not in known:
            flip_one_byte(path)
    session.restore_server()
    session.update()
    session.expect_update_to("v2")


@SUITE.scenario()
def old_versions_are_deleted(session: Session) -> None:
    """After five updates the device stores the files of a few versions at most."""
    server = session.start_with_offer().server
    for number in range(3, 8):
        server.publish(f"v{number}", number, {"backbone": random_content(f"c{number}")})
        server.offered = f"v{number}"
        session.expect_update_to(f"v{number}")
    stored = sum(path.stat().st_size for path in _files(session.directory))
    session.require(stored < 4 * SIZE, f"{stored} bytes on disk for a model of {SIZE}")


@SUITE.scenario()
def no_files_outside_the_directory(session: Session) -> None:
    """An update writes only to the device directory."""
    session.start_with_offer().expect_update_to("v2")
    others = {path.name for path in session.folder.iterdir()} - {"device", "trust.json", "shipped"}
    session.require(not others, f"the SDK wrote {sorted(others)} next to the device directory")


def _sent(session: Session, size: int) -> Callable[[], bool]:
    return lambda: session.server.bytes_sent >= size


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
