"""Valid and invalid patches. After an invalid patch the SDK downloads the whole file."""

import base64
import dataclasses

from sdk_contract.conformance.fake_server.content import (
    flip_one_byte,
    patch_to_patched_content,
    patched_content,
    random_content,
)
from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.patches import BuiltPatch, Piece, build_patch
from sdk_contract.conformance.fake_server.tampering import Fields
from sdk_contract.conformance.fake_server.values import sha256_hex
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session
from sdk_contract.formats import BSDIFF40
from sdk_contract.vectors import Case, load
from sdk_contract.vectors.runner import apply_in_memory

SUITE = Suite("patch")
OBJECTS = "/objects/"


def _digests(session: Session) -> tuple[str, str]:
    """Digest of the patch from v1 to v2, and of the whole new file."""
    (patch,) = session.server.patches.values()
    return sha256_hex(patch.data), sha256_hex(session.server.versions["v2"].files["backbone"])


def _expect_only_the_patch(session: Session) -> None:
    patch, whole = _digests(session)
    session.require(patch in session.downloaded_digests(), "the patch was not used")
    session.require(whole not in session.downloaded_digests(), "the whole file was downloaded too")


@SUITE.scenario()
def copies_and_zeros(session: Session) -> None:
    """A minimal patch is applied, and the whole file is not downloaded."""
    session.start_with_offer(patch=True).expect_update_to("v2")
    _expect_only_the_patch(session)


def _add_vector(case: Case) -> None:
    words = case["id"].partition(".")[2]

    def run(session: Session) -> None:
        inputs = case["inputs"]
        source, data = (base64.b64decode(inputs[name]) for name in ("source", "patch"))
        target = apply_in_memory(source, data)
        session.server.publish("v1", 1, {"backbone": source})
        session.server.publish("v2", 2, {"backbone": target})
        session.server.add_patch(source, BuiltPatch(data, inputs["index_sha256"], target))
        session.enroll("v1")
        session.server.offered = "v2"
        session.expect_update_to("v2")
        if source != target:
            session.require(
                session.downloaded_digests() == [sha256_hex(data)], "the patch was not the only download"
            )

    SUITE.add(f"vector-{words}", f"A patch of the vectors is applied: {case['comment']}.", run)


for _case in load("patch"):
    if _case["expect"]["result"] == "accept" and _case["expect"]["size"]:
        _add_vector(_case)


def _expect_full_download(session: Session) -> None:
    """The update must succeed with the whole file."""
    session.expect_update_to("v2")
    session.require(_digests(session)[1] in session.downloaded_digests(), "the whole file was not downloaded")


def _expect_patch_not_requested(session: Session) -> None:
    """The update must succeed with the whole file, and without a request for the patch."""
    _expect_full_download(session)
    session.require(_digests(session)[0] not in session.downloaded_digests(), "the patch was requested")


def _add_wrong_signer(signer: str, attack: str) -> None:
    def run(session: Session) -> None:
        session.start_with_offer(patch=True).server.tampering.patch.signers = (signer,)
        _expect_patch_not_requested(session)

    SUITE.add(
        f"descriptor-by-{signer}",
        f"A patch whose descriptor is signed by the {signer} is not requested.",
        run,
        attack,
    )


for _signer in ("stranger", "director", "publisher"):
    _add_wrong_signer(_signer, "arbitrary_software" if _signer == "stranger" else "key_compromise")


def _add_wrong_descriptor(name: str, requirement: str, changes: Fields, attack: str) -> None:
    def run(session: Session) -> None:
        session.start_with_offer(patch=True).server.tampering.patch.fields = lambda fields: {
            **fields,
            **changes,
        }
        _expect_patch_not_requested(session)

    SUITE.add(name, requirement, run, attack)


_add_wrong_descriptor(
    "other-target",
    "A patch to another file than the manifest's is not used.",
    {"target": {"sha256": sha256_hex(b"x"), "size": 1}},
    "mix_and_match",
)
_add_wrong_descriptor(
    "other-size",
    "A patch of another size than was signed is not used.",
    {"patch": {"sha256": sha256_hex(b"x"), "size": 1 << 50}},
    "endless_data",
)
_add_wrong_descriptor(
    "other-format",
    "A patch of another format than was signed is not used.",
    {"format": BSDIFF40},
    "mix_and_match",
)
_add_wrong_descriptor(
    "no-index-digest",
    "A patch without a signed index digest is not used.",
    {"index_sha256": None},
    "arbitrary_software",
)
_add_wrong_descriptor(
    "malformed-descriptor",
    "A patch with a malformed descriptor is not used.",
    {"working_set": -1},
    "parser_differences",
)


@SUITE.scenario("arbitrary_software")
def no_descriptor(session: Session) -> None:
    """A patch without a descriptor is not used."""
    session.start_with_offer(patch=True).server.tampering.option = lambda option: {
        name: value for name, value in option.items() if name != "descriptor"
    }
    _expect_patch_not_requested(session)


def _add_fault(name: str, requirement: str, fault: Fault, attack: str | None = "malicious_mirror") -> None:
    def run(session: Session) -> None:
        session.start_with_offer(patch=True)
        session.server.faults[f"{OBJECTS}{_digests(session)[0]}"].extend([fault] * 8)
        _expect_full_download(session)

    SUITE.add(name, requirement, run, attack)


_add_fault("index-corrupt", "A patch with a wrong bit in its index is not used.", Fault(flip_byte_at=200))
_add_fault("header-corrupt", "A patch with a wrong bit in its header is not used.", Fault(flip_byte_at=70))
_add_fault("magic-corrupt", "A patch with a wrong magic number is not used.", Fault(flip_byte_at=0))
_add_fault(
    "text-instead-of-patch",
    "A text in place of the patch is not used.",
    Fault(body=b"<html>" * 200, ignore_range=True),
)


@SUITE.scenario()
def cut_and_resumed(session: Session) -> None:
    """An interrupted download of a patch is resumed."""
    session.start_with_offer(patch=True).server.faults[OBJECTS].append(Fault(cut_after=150))
    session.expect_update_to("v2")
    _expect_only_the_patch(session)


@SUITE.scenario("arbitrary_software")
def other_index_digest(session: Session) -> None:
    """A patch whose index is not the signed one is not used."""
    session.start_with_offer(patch=True)
    (key,) = session.server.patches
    session.server.patches[key] = dataclasses.replace(
        session.server.patches[key], index_sha256=sha256_hex(b"other")
    )
    _expect_full_download(session)


@SUITE.scenario("key_compromise")
def stolen_patcher_key(session: Session) -> None:
    """A signed patch that produces another file than the manifest's is detected."""
    session.start_with_offer(patch=True)
    ((pair, good),) = session.server.patches.items()
    source = session.server.versions["v1"].files["backbone"]
    other = build_patch(source, [Piece(1000, 0), Piece(len(good.target) - 1000)])
    session.server.patches[pair] = BuiltPatch(other.data, other.index_sha256, good.target)
    session.server.objects[sha256_hex(other.data)] = other.data
    _expect_full_download(session)


@SUITE.scenario("endless_data")
def patch_with_huge_output(session: Session) -> None:
    """The manifest's size limits what a patch writes, so a stolen patcher key cannot fill the disk."""
    session.start_with_offer(patch=True)
    ((pair, good),) = session.server.patches.items()
    bomb = build_patch(session.server.versions["v1"].files["backbone"], [Piece(256 << 20)])
    session.server.patches[pair] = BuiltPatch(bomb.data, bomb.index_sha256, good.target)
    session.server.objects[sha256_hex(bomb.data)] = bomb.data
    largest = session.largest_file_during_update()
    session.require(largest < 64 << 20, f"the SDK wrote {largest} bytes for a file of {len(good.target)}")


@SUITE.scenario()
def source_is_corrupt(session: Session) -> None:
    """If the source file is corrupt on disk, the whole file is downloaded."""
    session.start_with_offer(patch=True)
    result = session.sdk.call(["status", "--dir", str(session.directory)])
    flip_one_byte(result.output["components"]["backbone"])
    _expect_full_download(session)


@SUITE.scenario()
def two_patches_in_a_row(session: Session) -> None:
    """The target of one patch is the source of the next."""
    session.start_with_offer(patch=True).expect_update_to("v2")
    old = session.server.versions["v2"].files["backbone"]
    session.server.publish("v3", 3, {"backbone": patched_content(old), "tokenizer": random_content("t", 50)})
    session.server.add_patch(old, patch_to_patched_content(old))
    session.server.offered = "v3"
    session.expect_update_to("v3")
    session.require(
        sha256_hex(patched_content(old)) not in session.downloaded_digests(), "the whole file was downloaded"
    )


@SUITE.scenario()
def failed_patch_is_reported(session: Session) -> None:
    """If a patch is not used, its error code is reported."""
    session.start_with_offer(patch=True)
    session.server.faults[f"{OBJECTS}{_digests(session)[0]}"].extend([Fault(flip_byte_at=200)] * 8)
    session.expect_update_to("v2")
    codes = {event.get("code") for event in session.server.events.values()}
    session.require("index_mismatch" in codes or "patch_corrupt" in codes, f"reported {codes}")
