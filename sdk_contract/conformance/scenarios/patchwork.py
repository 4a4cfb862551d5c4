"""Patches: good ones of every kind, and what can be wrong with them. The whole file is always the way out."""

import base64
import dataclasses

from sdk_contract.conformance.facts import sha
from sdk_contract.conformance.lies import Fault, Fields
from sdk_contract.conformance.patching import Patch, Piece, build
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content, damage, tuned, tuning
from sdk_contract.vectors import Case, load
from sdk_contract.vectors.runner import apply_in_memory

BOOK = Book("patch")
OBJECTS = "/objects/"


def _digests(stage: Stage) -> tuple[str, str]:
    """Of the patch from v1 to v2, and of the whole new file."""
    (patch,) = stage.world.patches.values()
    return sha(patch.data), sha(stage.world.versions["v2"].files["backbone"])


def _only_patch(stage: Stage) -> None:
    patch, whole = _digests(stage)
    stage.require(patch in stage.downloaded(), "the patch was not used")
    stage.require(whole not in stage.downloaded(), "the whole file was fetched beside it")


@BOOK.scenario()
def copies_and_zeros(stage: Stage) -> None:
    """The simplest patch is applied, and the whole file is not fetched."""
    stage.ready(patch=True).updates_to("v2")
    _only_patch(stage)


def _golden(case: Case) -> None:
    words = case["id"].partition(".")[2]

    def play(stage: Stage) -> None:
        inputs = case["inputs"]
        source, data = (base64.b64decode(inputs[name]) for name in ("source", "patch"))
        target = apply_in_memory(source, data)
        stage.world.publish("v1", 1, {"backbone": source})
        stage.world.publish("v2", 2, {"backbone": target})
        stage.world.add_patch(source, Patch(data, inputs["index_sha256"], target))
        stage.enrol("v1")
        stage.world.offered = "v2"
        stage.updates_to("v2")
        if source != target:
            stage.require(stage.downloaded() == [sha(data)], "the patch was not used, or not alone")

    BOOK.add(f"golden-{words}", f"A real patch is applied: {case['comment']}.", play)


for _case in load("patch"):
    if _case["expect"]["result"] == "accept" and _case["expect"]["size"]:
        _golden(_case)


def _falls_back(stage: Stage) -> None:
    """The update succeeds by the whole file."""
    stage.updates_to("v2")
    stage.require(_digests(stage)[1] in stage.downloaded(), "the whole file was not fetched")


def _not_even_fetched(stage: Stage) -> None:
    """Nor was a byte of the patch asked for."""
    _falls_back(stage)
    stage.require(_digests(stage)[0] not in stage.downloaded(), "the patch was fetched")


def _signed_by(signer: str, attack: str) -> None:
    def play(stage: Stage) -> None:
        stage.ready(patch=True).world.lies.patch.signers = (signer,)
        _not_even_fetched(stage)

    BOOK.add(
        f"descriptor-by-{signer}", f"A patch that the {signer} has signed is not looked at.", play, attack
    )


for _signer in ("stranger", "director", "publisher"):
    _signed_by(_signer, "arbitrary_software" if _signer == "stranger" else "key_compromise")


def _described(words: str, text: str, lie: Fields, attack: str) -> None:
    def play(stage: Stage) -> None:
        stage.ready(patch=True).world.lies.patch.fields = lambda fields: {**fields, **lie}
        _not_even_fetched(stage)

    BOOK.add(words, text, play, attack)


_described(
    "leads-elsewhere",
    "A patch to another file than the manifest's is not used.",
    {"target": {"sha256": sha(b"x"), "size": 1}},
    "mix_and_match",
)
_described(
    "signed-of-another-size",
    "A patch of another size than was signed is not used.",
    {"patch": {"sha256": sha(b"x"), "size": 1 << 50}},
    "endless_data",
)
_described(
    "signed-as-another-format",
    "A patch of another format than was signed is not used.",
    {"format": "bsdiff40"},
    "mix_and_match",
)
_described(
    "without-an-index-digest",
    "A patch whose index nobody has signed is not used.",
    {"index_sha256": None},
    "arbitrary_software",
)
_described(
    "malformed-descriptor", "A malformed descriptor is not used.", {"working_set": -1}, "parser_differences"
)


@BOOK.scenario("arbitrary_software")
def without_a_descriptor(stage: Stage) -> None:
    """A patch that nobody has signed is not used."""
    stage.ready(patch=True).world.lies.way = lambda way: {
        name: value for name, value in way.items() if name != "descriptor"
    }
    _not_even_fetched(stage)


def _served(words: str, text: str, fault: Fault, attack: str | None = "malicious_mirror") -> None:
    def play(stage: Stage) -> None:
        stage.ready(patch=True)
        stage.world.faults[f"{OBJECTS}{_digests(stage)[0]}"].extend([fault] * 8)
        _falls_back(stage)

    BOOK.add(words, text, play, attack)


_served("index-damaged", "A patch with a wrong bit in its index is not used.", Fault(flip=200))
_served("header-damaged", "Nor one with a wrong bit in its header.", Fault(flip=70))
_served("magic-damaged", "Nor what is no patch at all.", Fault(flip=0))
_served("page-instead", "Nor a page of text in its place.", Fault(body=b"<html>" * 200, ignore_range=True))


@BOOK.scenario()
def cut_and_resumed(stage: Stage) -> None:
    """A patch that is cut is resumed."""
    stage.ready(patch=True).world.faults[OBJECTS].append(Fault(cut=150))
    stage.updates_to("v2")
    _only_patch(stage)


@BOOK.scenario("arbitrary_software")
def signed_for_another_patch(stage: Stage) -> None:
    """The index that was signed is not the one that comes."""
    stage.ready(patch=True)
    (key,) = stage.world.patches
    stage.world.patches[key] = dataclasses.replace(stage.world.patches[key], index_sha256=sha(b"other"))
    _falls_back(stage)


@BOOK.scenario("key_compromise")
def stolen_patcher_key(stage: Stage) -> None:
    """A patch that its own signature calls good, and that makes another file, is found out by the manifest."""
    stage.ready(patch=True)
    ((pair, good),) = stage.world.patches.items()
    source = stage.world.versions["v1"].files["backbone"]
    evil = build(source, [Piece(1000, 0), Piece(len(good.target) - 1000)])
    stage.world.patches[pair] = Patch(evil.data, evil.index_sha256, good.target)
    stage.world.objects[sha(evil.data)] = evil.data
    _falls_back(stage)


@BOOK.scenario("endless_data")
def patch_writes_without_end(stage: Stage) -> None:
    """A stolen patcher key cannot fill the disk: what a patch makes is bounded by the manifest."""
    stage.ready(patch=True)
    ((pair, good),) = stage.world.patches.items()
    bomb = build(stage.world.versions["v1"].files["backbone"], [Piece(256 << 20)])
    stage.world.patches[pair] = Patch(bomb.data, bomb.index_sha256, good.target)
    stage.world.objects[sha(bomb.data)] = bomb.data
    largest = stage.largest_file_during_update()
    stage.require(largest < 64 << 20, f"it wrote {largest} bytes for a file of {len(good.target)}")


@BOOK.scenario()
def base_is_damaged(stage: Stage) -> None:
    """An old file that rotted on the disk is no base: the whole file is fetched."""
    stage.ready(patch=True)
    reply = stage.sdk.call(["status", "--dir", str(stage.directory)])
    damage(reply.told["components"]["backbone"])
    _falls_back(stage)


@BOOK.scenario()
def two_patches_in_a_row(stage: Stage) -> None:
    """The result of a patch is the base of the next."""
    stage.ready(patch=True).updates_to("v2")
    old = stage.world.versions["v2"].files["backbone"]
    stage.world.publish("v3", 3, {"backbone": tuned(old), "tokenizer": content("t", 50)})
    stage.world.add_patch(old, tuning(old))
    stage.world.offered = "v3"
    stage.updates_to("v3")
    stage.require(sha(tuned(old)) not in stage.downloaded(), "the whole file was fetched")


@BOOK.scenario()
def failed_patch_is_reported(stage: Stage) -> None:
    """An operator hears why a patch was not used."""
    stage.ready(patch=True)
    stage.world.faults[f"{OBJECTS}{_digests(stage)[0]}"].extend([Fault(flip=200)] * 8)
    stage.updates_to("v2")
    codes = {event.get("code") for event in stage.world.events.values()}
    stage.require("index_mismatch" in codes or "patch_corrupt" in codes, f"reported {codes}")
