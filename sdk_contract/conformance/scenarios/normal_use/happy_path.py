"""Installs, updates and rollbacks without any fault."""

from sdk_contract.conformance.fake_server.content import random_content
from sdk_contract.conformance.fake_server.values import sha256_hex
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session
from sdk_contract.formats import FULL

SUITE = Suite("happy_path")


@SUITE.scenario()
def first_install(session: Session) -> None:
    """A device without a model installs the first version that it is offered."""
    session.server.publish("v1", 1, {"backbone": random_content("a")})
    session.enroll()
    session.expect_running(None)
    session.server.offered = "v1"
    session.expect_update_to("v1")


@SUITE.scenario()
def shipped_version_runs_at_once(session: Session) -> None:
    """The version that shipped with the app runs before any poll."""
    session.start_with_offer()
    session.expect_running("v1")
    session.require(not session.server.polls, "init must not poll")


@SUITE.scenario()
def update(session: Session) -> None:
    """An offered newer version is installed."""
    session.start_with_offer().expect_update_to("v2")


@SUITE.scenario()
def unchanged_component_is_kept(session: Session) -> None:
    """A component that both versions share is not downloaded again."""
    session.start_with_offer().expect_update_to("v2")
    tokenizer = sha256_hex(session.server.versions["v2"].files["tokenizer"])
    session.require(tokenizer not in session.downloaded_digests(), "the tokenizer was downloaded again")


@SUITE.scenario()
def up_to_date(session: Session) -> None:
    """A poll of an up-to-date device downloads nothing."""
    session.start_with_offer().expect_update_to("v2")
    before = len(session.downloaded_digests())
    session.expect_unchanged("v2")
    session.require(len(session.downloaded_digests()) == before, "something was downloaded again")


@SUITE.scenario()
def nothing_offered(session: Session) -> None:
    """A response without an offer changes nothing and is not an error."""
    session.start_with_offer().server.offered = None
    session.expect_unchanged("v1")


@SUITE.scenario()
def pause(session: Session) -> None:
    """The action `pause` changes nothing."""
    session.start_with_offer().server.offered = None
    session.server.pause = True
    session.expect_unchanged("v1")


@SUITE.scenario()
def three_versions(session: Session) -> None:
    """Two updates in a row succeed."""
    session.start_with_offer().expect_update_to("v2")
    session.offer_version("v3", 3, {"backbone": random_content("c"), "tokenizer": random_content("t3", 100)})
    session.expect_update_to("v3")


@SUITE.scenario()
def skipped_counters(session: Session) -> None:
    """Counters need not be consecutive."""
    session.start_with_offer().offer_version("v9", 90, {"backbone": random_content("c")})
    session.expect_update_to("v9")


@SUITE.scenario()
def component_added_and_removed(session: Session) -> None:
    """A version may add and remove components."""
    session.start_with_offer().offer_version(
        "v3", 3, {"backbone": random_content("c"), "audio": random_content("d")}
    )
    session.expect_update_to("v3")


@SUITE.scenario()
def several_components(session: Session) -> None:
    """A version with eight components is installed."""
    session.start_with_offer().offer_version(
        "v3", 3, {f"part{n}": random_content(f"p{n}", 2000) for n in range(8)}
    )
    session.expect_update_to("v3")


@SUITE.scenario()
def subset_of_components(session: Session) -> None:
    """A device that wants one component downloads only that one."""
    session.server.publish("v1", 1, {"backbone": random_content("a"), "vision": random_content("b")})
    session.enroll(wanted_components=["vision"])
    session.server.offered = "v1"
    session.expect_update_to("v1")
    session.require(
        session.downloaded_digests() == [sha256_hex(random_content("b"))],
        "more than the wanted component was downloaded",
    )


@SUITE.scenario()
def two_components_with_the_same_content(session: Session) -> None:
    """Two components with the same content are two files."""
    session.start_with_offer().offer_version(
        "v3", 3, {"left": random_content("x"), "right": random_content("x")}
    )
    session.expect_update_to("v3")


@SUITE.scenario()
def empty_component(session: Session) -> None:
    """An empty file is installed like any other."""
    session.start_with_offer().offer_version("v3", 3, {"backbone": random_content("c"), "marker": b""})
    session.expect_update_to("v3")


@SUITE.scenario()
def larger_file(session: Session) -> None:
    """A file of 3 MiB is installed."""
    session.start_with_offer().offer_version("v3", 3, {"backbone": random_content("c", 3 << 20)})
    session.expect_update_to("v3")


@SUITE.scenario()
def poll_reports_what_is_on_disk(session: Session) -> None:
    """The poll names the running version, the components on disk and the trust bundle."""
    session.start_with_offer().expect_update_to("v2")
    session.expect_unchanged("v2")
    poll = session.server.polls[-1]
    files = session.server.versions["v2"].files
    session.require(poll.current_version == "v2", "current_version is not the running version")
    session.require(
        poll.components == {name: sha256_hex(data) for name, data in files.items()},
        "components are not the files on disk",
    )
    session.require(poll.trust_version == 1, "trust_version is wrong")
    session.require(FULL in poll.accepts, "accepts lacks full")


@SUITE.scenario()
def repeated_enrollment(session: Session) -> None:
    """A repeated `init` keeps the device's key and model."""
    session.start_with_offer().enroll("v1")
    session.expect_update_to("v2")
    session.enroll("v1")
    session.expect_running("v2")
    bodies = {entry.body for entry in session.server.requests_to("/v1/device/enroll")}
    session.require(len(bodies) == 1, "the second enrollment used another key or proof")


@SUITE.scenario()
def wrong_enrollment_token(session: Session) -> None:
    """`init` fails if the server rejects the enrollment token."""
    session.server.publish("v1", 1, {"backbone": random_content("a")})
    session.require(session.init(token="wrong").exit_code == 1, "init must fail")  # noqa: S106 - that is the point


@SUITE.scenario()
def unsigned_fields_are_ignored(session: Session) -> None:
    """Unsigned fields that contradict the directive are ignored."""
    unsigned = {"need_update": False, "target_version": "v9", "download_url": None, "action": "none"}
    session.start_with_offer().server.tampering.response = lambda response: {**response, **unsigned}
    session.expect_update_to("v2")


@SUITE.scenario()
def unknown_fields_and_reasons(session: Session) -> None:
    """Unknown fields and reasons outside the signed documents are ignored."""
    new = {"color": "blue", "reason": "full_moon", "downloads_v2": [1.5, None]}
    session.start_with_offer().server.tampering.response = lambda response: {**response, **new}
    session.expect_update_to("v2")


@SUITE.scenario()
def unknown_extension_in_directive(session: Session) -> None:
    """Unknown fields below `ext` are ignored."""
    session.start_with_offer().server.tampering.directive.fields = lambda fields: {
        **fields,
        "ext": {"later": {"a": [1]}},
    }
    session.expect_update_to("v2")


@SUITE.scenario()
def several_variants(session: Session) -> None:
    """Only the variant that the directive names is installed."""
    other = {
        "name": "int4",
        "priority": 99,
        "components": [{"name": "x", "path": "x", "size": 1 << 50, "sha256": "0" * 64}],
    }
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {
        **fields,
        "variants": [other, *fields["variants"]],
    }
    session.expect_update_to("v2")


@SUITE.scenario()
def installed_version_offered_again(session: Session) -> None:
    """If the running version is offered again, nothing is downloaded and `committed` is reported again."""
    session.start_with_offer().expect_update_to("v2")
    session.server.events.clear()
    session.server.offer_even_if_current = True
    before = len(session.downloaded_digests())
    session.expect_unchanged("v2")
    session.require(len(session.downloaded_digests()) == before, "something was downloaded again")
    session.require("committed" in session.server.reported_states, "committed was not reported again")


@SUITE.scenario()
def response_with_whitespace(session: Session) -> None:
    """Whitespace and the order of fields outside the signed documents do not matter."""
    session.start_with_offer().server.tampering.response = lambda response: dict(reversed(response.items()))
    session.server.tampering.response_bytes = lambda body: b" \n" + body.replace(b'","', b'" ,\t"') + b"\n"
    session.expect_update_to("v2")


@SUITE.scenario()
def ordered_rollback(session: Session) -> None:
    """A signed rollback is followed, and so is an install after it."""
    session.start_with_offer().expect_update_to("v2")
    session.server.offered, session.server.action = "v1", "rollback"
    session.expect_update_to("v1")
    session.server.offered, session.server.action = "v2", "install"
    session.expect_update_to("v2")


@SUITE.scenario()
def running_offline(session: Session) -> None:
    """Without a server the model runs and `status` works."""
    session.start_with_offer().server.base_url = "http://127.0.0.1:9"
    session.expect_running("v1")


@SUITE.scenario()
def unknown_format_is_skipped(session: Session) -> None:
    """A download option with an unknown format is skipped."""
    session.start_with_offer()

    def add_unknown_format(response: dict[str, object]) -> dict[str, object]:
        downloads = response.get("downloads")
        for download in downloads if isinstance(downloads, list) else []:
            unknown = [{**option, "format": "glp9"} for option in download["options"]]
            download["options"] = unknown + download["options"]
        return response

    session.server.tampering.response = add_unknown_format
    session.expect_update_to("v2")


def _add_file_size(size: int) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().offer_version("v3", 3, {"backbone": random_content("odd", size)})
        session.expect_update_to("v3")

    SUITE.add(f"size-{size}", f"A file of {size} bytes is installed.", run)


for _size in (1, 4095, 65536, 65537):
    _add_file_size(_size)
