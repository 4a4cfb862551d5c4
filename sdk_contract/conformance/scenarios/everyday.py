"""Good days: a server that means well."""

from sdk_contract.conformance.facts import sha
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content

BOOK = Book("everyday")


@BOOK.scenario()
def first_install(stage: Stage) -> None:
    """A device with no model installs the first one that it is offered."""
    stage.world.publish("v1", 1, {"backbone": content("a")})
    stage.enrol()
    stage.runs(None)
    stage.world.offered = "v1"
    stage.updates_to("v1")


@BOOK.scenario()
def shipped_version_runs_at_once(stage: Stage) -> None:
    """What shipped with the app runs before any poll."""
    stage.ready()
    stage.runs("v1")
    stage.require(not stage.world.polls, "init must not poll")


@BOOK.scenario()
def update(stage: Stage) -> None:
    """A newer version is installed."""
    stage.ready().updates_to("v2")


@BOOK.scenario()
def unchanged_component_is_kept(stage: Stage) -> None:
    """A component that is the same in both versions is not downloaded."""
    stage.ready().updates_to("v2")
    tokenizer = sha(stage.world.versions["v2"].files["tokenizer"])
    stage.require(tokenizer not in stage.downloaded(), "the tokenizer was downloaded again")


@BOOK.scenario()
def up_to_date(stage: Stage) -> None:
    """A second poll downloads nothing."""
    stage.ready().updates_to("v2")
    before = len(stage.downloaded())
    stage.stays("v2")
    stage.require(len(stage.downloaded()) == before, "something was downloaded again")


@BOOK.scenario()
def nothing_offered(stage: Stage) -> None:
    """No offer, no change, no error."""
    stage.ready().world.offered = None
    stage.stays("v1")


@BOOK.scenario()
def hold(stage: Stage) -> None:
    """An order to hold changes nothing."""
    stage.ready().world.offered = None
    stage.world.hold = True
    stage.stays("v1")


@BOOK.scenario()
def three_versions(stage: Stage) -> None:
    """One update after the other."""
    stage.ready().updates_to("v2")
    stage.world.publish("v3", 3, {"backbone": content("c"), "tokenizer": content("t3", 100)})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def skipping_a_version(stage: Stage) -> None:
    """Counters rise, they need not be next to each other."""
    stage.ready().world.publish("v9", 90, {"backbone": content("c")})
    stage.world.offered = "v9"
    stage.updates_to("v9")


@BOOK.scenario()
def component_added_and_removed(stage: Stage) -> None:
    """A version may have other components than the one before."""
    stage.ready().world.publish("v3", 3, {"backbone": content("c"), "audio": content("d")})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def several_components(stage: Stage) -> None:
    """All components of a version arrive together."""
    stage.ready().world.publish("v3", 3, {f"part{n}": content(f"p{n}", 2000) for n in range(8)})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def subset_of_modules(stage: Stage) -> None:
    """A device that wants one module downloads that one only."""
    stage.world.publish("v1", 1, {"backbone": content("a"), "vision": content("b")})
    stage.enrol(modules=["vision"])
    stage.world.offered = "v1"
    stage.updates_to("v1")
    stage.require(stage.downloaded() == [sha(content("b"))], "more than the module was downloaded")


@BOOK.scenario()
def two_components_of_the_same_bytes(stage: Stage) -> None:
    """Two names for the same bytes are two files."""
    stage.ready().world.publish("v3", 3, {"left": content("x"), "right": content("x")})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def empty_component(stage: Stage) -> None:
    """A file of no bytes is a file."""
    stage.ready().world.publish("v3", 3, {"backbone": content("c"), "marker": b""})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def larger_file(stage: Stage) -> None:
    """Three megabytes, in as many reads as it takes."""
    stage.ready().world.publish("v3", 3, {"backbone": content("c", 3 << 20)})
    stage.world.offered = "v3"
    stage.updates_to("v3")


@BOOK.scenario()
def poll_says_what_is_on_disk(stage: Stage) -> None:
    """The poll names version, components and trust bundle of the device."""
    stage.ready().updates_to("v2")
    stage.stays("v2")
    poll = stage.world.polls[-1]
    files = stage.world.versions["v2"].files
    stage.require(poll.current_version == "v2", "current_version is not what runs")
    stage.require(
        poll.components == {name: sha(data) for name, data in files.items()}, "components are wrong"
    )
    stage.require(poll.trust_version == 1, "trust_version is wrong")
    stage.require("full" in poll.accepts, "whole files are always accepted")


@BOOK.scenario()
def enrolling_again(stage: Stage) -> None:
    """`init` may be repeated; the device keeps its key and its model."""
    stage.ready().enrol("v1")
    stage.updates_to("v2")
    stage.enrol("v1")
    stage.runs("v2")
    bodies = {entry.body for entry in stage.world.requests("/v1/device/enroll")}
    stage.require(len(bodies) == 1, "another key, or another proof")


@BOOK.scenario()
def wrong_enrolment_token(stage: Stage) -> None:
    """A refused enrolment is an error."""
    stage.world.publish("v1", 1, {"backbone": content("a")})
    stage.require(stage.init(token="wrong").exit_code == 1, "init must fail")  # noqa: S106 - that is the point


@BOOK.scenario()
def plain_fields_are_no_orders(stage: Stage) -> None:
    """The plain fields may say no: the signed directive decides."""
    lie = {"need_update": False, "target_version": "v9", "download_url": None, "action": "none"}
    stage.ready().world.lies.answer = lambda answer: {**answer, **lie}
    stage.updates_to("v2")


@BOOK.scenario()
def unknown_fields_and_reasons(stage: Stage) -> None:
    """Fields and reasons that were invented later are no reason to fail."""
    new = {"colour": "blue", "reason": "full_moon", "downloads_v2": [1.5, None]}
    stage.ready().world.lies.answer = lambda answer: {**answer, **new}
    stage.updates_to("v2")


@BOOK.scenario()
def extension_in_directive(stage: Stage) -> None:
    """Under `ext` anything may stand."""
    stage.ready().world.lies.directive.fields = lambda fields: {**fields, "ext": {"later": {"a": [1]}}}
    stage.updates_to("v2")


@BOOK.scenario()
def several_variants(stage: Stage) -> None:
    """The directive names the variant; the other ones are not looked at."""
    other = {
        "name": "int4",
        "priority": 99,
        "components": [{"name": "x", "path": "x", "size": 1 << 50, "sha256": "0" * 64}],
    }
    stage.ready().world.lies.manifest.fields = lambda fields: {
        **fields,
        "variants": [other, *fields["variants"]],
    }
    stage.updates_to("v2")


@BOOK.scenario()
def lost_report(stage: Stage) -> None:
    """A version that runs already is offered again: nothing is downloaded, and `committed` is said again."""
    stage.ready().updates_to("v2")
    stage.world.events.clear()
    stage.world.insist = True
    before = len(stage.downloaded())
    stage.stays("v2")
    stage.require(len(stage.downloaded()) == before, "something was downloaded again")
    stage.require("committed" in stage.world.states, "committed was not reported again")


@BOOK.scenario()
def answer_with_blanks(stage: Stage) -> None:
    """Blanks and another order of fields are the same answer."""
    stage.ready().world.lies.answer = lambda answer: dict(reversed(answer.items()))
    stage.world.lies.body = lambda body: b" \n" + body.replace(b'","', b'" ,\t"') + b"\n"
    stage.updates_to("v2")


@BOOK.scenario()
def ordered_rollback(stage: Stage) -> None:
    """A signed order to go back is followed, and one to go forward after it."""
    stage.ready().updates_to("v2")
    stage.world.offered, stage.world.action = "v1", "rollback"
    stage.updates_to("v1")
    stage.world.offered, stage.world.action = "v2", "install"
    stage.updates_to("v2")


@BOOK.scenario()
def installing_offline_fails_softly(stage: Stage) -> None:
    """Without a server the model still runs, and `status` still answers."""
    stage.ready().world.base = "http://127.0.0.1:9"
    stage.runs("v1")


@BOOK.scenario()
def unknown_way_is_skipped(stage: Stage) -> None:
    """A way in a format of the future is passed over."""
    stage.ready()

    def future(answer: dict[str, object]) -> dict[str, object]:
        downloads = answer.get("downloads")
        for entry in downloads if isinstance(downloads, list) else []:
            entry["ways"] = [{**way, "format": "glp9"} for way in entry["ways"]] + entry["ways"]
        return answer

    stage.world.lies.answer = future
    stage.updates_to("v2")


def _sizes(size: int) -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.publish("v3", 3, {"backbone": content("odd", size)})
        stage.world.offered = "v3"
        stage.updates_to("v3")

    BOOK.add(f"size-{size}", f"A file of {size} bytes arrives whole.", play)


for _size in (1, 4095, 65536, 65537):
    _sizes(_size)
