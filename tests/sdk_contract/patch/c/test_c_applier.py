"""The C library passes the golden vectors, and applies our writer's patches and random payloads of the specification.

`GRAYLAG_FUZZ_MUTATIONS=100000` sets the number of mutated payloads.
"""

import base64
import hashlib
import os

import numpy as np
import pytest
import zstandard

from sdk_contract.patch import PatchError, parse_index
from sdk_contract.patch.container import BlockOp, BlockRecord, Header, pack_head
from sdk_contract.patch.payload.block import make_target, read_block_plan
from sdk_contract.patch.payload.elements import Element
from sdk_contract.vectors import load
from tests.sdk_contract.patch.c.conftest import COMPILERS, SOURCES, build, compile_c
from tests.sdk_contract.patch.memory_file import MemoryFile
from tests.sdk_contract.patch.payload.test_block import LANES, coded, mutated
from tests.sdk_contract.patch.random_payloads import Payload, any_payload
from tests.sdk_contract.patch.random_runs import Unframed

MUTATIONS = int(os.environ.get("GRAYLAG_FUZZ_MUTATIONS", "2000"))
LIBRARY_ERRORS = {"write_failed", "no_memory", "wrong_use"}
EMPTY_DIGEST = bytes(16)


def short_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def one_block(source: bytes | bytearray, record: BlockRecord, payload: bytes, target: bytes) -> bytes:
    """A patch with one coded block and correct digests."""
    record = BlockRecord(
        BlockOp.CODED, False, len(target), len(payload), record.source_offset, record.source_span, record.source_size,
        short_digest(payload), EMPTY_DIGEST, short_digest(target),
    )  # fmt: skip
    old_digest, new_digest = (hashlib.sha256(each).digest() for each in (source, target))
    header = Header(
        False, len(source), len(target), old_digest, new_digest, len(payload), 1, 1 << 15, 2 << 20
    )
    return pack_head(header, [record]) + payload


def record_of(case: Payload) -> BlockRecord:
    span = case.source_offset, case.source_span, case.source_size
    return BlockRecord(
        BlockOp.CODED,
        False,
        len(case.target),
        len(case.data),
        *span,
        EMPTY_DIGEST,
        EMPTY_DIGEST,
        EMPTY_DIGEST,
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_library_compiles_without_a_warning(compiler, folder):
    compile_c(folder, f"by-{compiler}", SOURCES, "-O2", compiler=compiler)


@pytest.mark.parametrize("case", load("patch"), ids=lambda case: case["id"])
def test_the_golden_vectors_pass(case, driver):
    inputs, expected = case["inputs"], case["expect"]
    source, patch = (base64.b64decode(inputs[name]) for name in ("source", "patch"))
    status, target = driver.apply(source, patch, bytes.fromhex(inputs["index_sha256"]))
    if expected["result"] == "accept":
        assert (status, hashlib.sha256(target).hexdigest()) == ("ok", expected["sha256"])
    else:
        assert status == expected["code"]


@pytest.mark.parametrize("name", LANES)
def test_blocks_of_our_writer_are_decoded(name, driver):
    payload, record, source, target = coded(name)
    assert driver.apply(source.data, one_block(source.data, record, payload, target)) == ("ok", target)


def test_random_payloads_of_the_specification_are_decoded(driver):
    rng = np.random.default_rng(1)
    decompressor = zstandard.ZstdDecompressor()
    for _ in range(400):
        case = any_payload(rng)
        assert (
            bytes(make_target(case.data, record_of(case), MemoryFile(case.source).read, decompressor))
            == case.target
        )
        patch = one_block(case.source, record_of(case), case.data, case.target)
        assert driver.apply(case.source, patch) == ("ok", case.target)


def has_nibbles(payload: bytes, record: BlockRecord) -> bool:
    lanes = read_block_plan(payload, record).lanes
    return any(field.element == Element.INT4 for lane in lanes for field in lane.fields)


def reference_result(payload: bytes, record: BlockRecord, source: bytes) -> tuple[str, bytes]:
    try:
        return "ok", bytes(
            make_target(payload, record, MemoryFile(source).read, zstandard.ZstdDecompressor())
        )
    except PatchError as fault:
        return fault.code, b""


@pytest.mark.slow
@pytest.mark.timeout(0 if MUTATIONS > 10_000 else 180)
def test_mutated_payloads_have_the_same_result_as_in_the_reference(driver):
    """Both return the same error, or the same bytes; the target digest is that of the reference's result."""
    rng = np.random.default_rng(2)
    made = 0
    for number in range(MUTATIONS):
        if number % 8 == 0:
            case = any_payload(Unframed(rng))
        record, changed = record_of(case), mutated(rng, case.data)
        wanted = reference_result(changed, record, case.source)
        patch = one_block(case.source, record, changed, wanted[1] or case.target)
        got = driver.apply(case.source, patch)
        made += wanted[0] == "ok"
        # With two violations a reader may report either. For a symbol above 15 the result is undefined, and the
        # library may reject it.
        either = {got[0], wanted[0]} == {"patch_corrupt", "patch_unsupported"} and got[1] == b""
        refused = got == ("patch_corrupt", b"") and wanted[0] == "ok" and has_nibbles(changed, record)
        assert got == wanted or either or refused
    assert MUTATIONS // 20 < made < MUTATIONS // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", LANES)
def test_mutated_blocks_of_our_writer_end_with_an_error_or_correct_bytes(name, driver):
    rng = np.random.default_rng(3)
    payload, record, source, target = coded(name)
    refused = 0
    for _ in range(MUTATIONS // 10):
        patch = one_block(source.data, record, mutated(rng, payload), target)
        status, written = driver.apply(source.data, patch)
        assert (status, written) == ("ok", target) or (
            status not in {"ok", *LIBRARY_ERRORS} and written == b""
        )
        refused += status != "ok"
    assert refused > MUTATIONS // 20


@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize("each", [77, 1 << 16, 1 << 30])
def test_files_of_our_writer_are_applied_with_any_chunk_size(pair, each, reversible, driver):
    patch, index = build(*pair, reversible=reversible)
    assert driver.apply(pair[0], patch, index, each=each) == ("ok", pair[1])


def test_the_library_resumes_at_any_block(pair, driver):
    patch, index = build(*pair)
    head = parse_index(patch)
    for block in range(len(head.records) + 1):
        front = pair[1][: head.target_offset(block)]
        assert driver.apply(pair[0], patch, index, front=front, done=block) == ("ok", pair[1])
    damaged = pair[1][: head.target_offset(1) - 1] + b"?"
    assert driver.apply(pair[0], patch, index, front=damaged, done=1)[0] == "target_mismatch"


def test_the_library_writes_complete_blocks_only(pair, driver):
    patch, index = build(*pair)
    head = parse_index(patch)
    ends = {head.target_offset(block) for block in range(len(head.records) + 1)}
    for cut in np.linspace(0, head.payload_offset(len(head.records)) - 1, 30).astype(int):
        status, written = driver.apply(pair[0], patch[:cut], index)
        assert status == "patch_truncated"
        assert len(written) in ends
        assert pair[1].startswith(written)
