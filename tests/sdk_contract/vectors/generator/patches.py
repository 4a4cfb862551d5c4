"""Family `patch`: small patches of the real builder, and invalid ones."""

import hashlib
import io
from functools import cache

import numpy as np

from sdk_contract.patch.container import (
    HEADER,
    PREAMBLE_SIZE,
    RECORD,
    BlockOp,
    BlockRecord,
    Header,
    pack_head,
)
from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import b64, flip, sha
from workers.delta.build import BuiltPatch, build_patch


class Blob:
    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, offset, length):
        return self.data[offset : offset + length]


def built(source, target):
    out = io.BytesIO()
    made = build_patch(Blob(source), Blob(target), out, threads=1)
    assert isinstance(made, BuiltPatch)
    return out.getvalue(), made.index_sha256.hex()


def case(name, comment, source, patch, index, expect, attack=None):  # noqa: PLR0917 - the columns of a table
    inputs = {"source": b64(source), "patch": b64(patch), "index_sha256": index}
    result = expect if isinstance(expect, str) else {"sha256": sha(expect), "size": len(expect)}
    return make_case(f"patch.{name}", comment, inputs, result, attack=attack)


def weights(size=12_000, seed=1):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def tensors(array, dtype, name="w"):
    """A safetensors file with one tensor."""
    raw = array.tobytes()
    header = (
        f'{{"{name}":{{"dtype":"{dtype}","shape":[{array.size}],"data_offsets":[0,{len(raw)}]}}}}'.encode()
    )
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + raw


def pairs():
    rng = np.random.default_rng(7)
    old = weights()
    new = old.copy()
    new[rng.choice(len(new), 400, replace=False)] += 1
    yield "bytes-differ", "a few changed bytes of an opaque file", old.tobytes(), new.tobytes()
    yield (
        "int8",
        "int8 values, some changed by one",
        tensors(old.view(np.int8), "I8"),
        tensors(new.view(np.int8), "I8"),
    )
    floats = rng.normal(0, 0.02, 6000).astype(np.float32)
    tuned = (floats + rng.normal(0, 1e-5, 6000)).astype(np.float32)
    yield "float32", "float32 values, all slightly changed", tensors(floats, "F32"), tensors(tuned, "F32")
    halves, tuned_halves = floats.astype(np.float16), tuned.astype(np.float16)
    yield "float16", "float16 values", tensors(halves, "F16"), tensors(tuned_halves, "F16")
    brain, tuned_brain = (array.view(np.uint32) >> 16 for array in (floats, tuned))
    yield (
        "bfloat16",
        "bfloat16 values",
        tensors(brain.astype(np.uint16), "BF16"),
        tensors(tuned_brain.astype(np.uint16), "BF16"),
    )
    yield "appended", "appended values", old.tobytes(), new.tobytes() + weights(500, 3).tobytes()
    yield (
        "inserted",
        "inserted values",
        old.tobytes(),
        old[:5000].tobytes() + b"inserted" * 20 + old[5000:].tobytes(),
    )
    yield "shorter", "a shorter target", old.tobytes(), old[:7000].tobytes()
    yield "same", "source and target are the same", old.tobytes(), old.tobytes()
    yield "zeros", "half of the target is zeros", old.tobytes(), old[:6000].tobytes() + bytes(6000)


def plain(source, *blocks, **changes):
    """A patch of copy and zero blocks, given as (op, size, source offset)."""
    digest, records = hashlib.sha256(), []
    for op, size, offset in blocks:
        copy = op is BlockOp.COPY
        digest.update(source[offset : offset + size] if copy else bytes(size))
        read = size if copy else 0
        records.append(
            BlockRecord(op, False, size, 0, offset, read, read, bytes(16), bytes(16), digest.digest()[:16])
        )
    fields = {
        "reversible": False,
        "source_size": len(source),
        "target_size": sum(size for _, size, _ in blocks),
        "source_sha256": hashlib.sha256(source).digest(),
        "target_sha256": digest.digest(),
        "payload_size": 0,
        "block_count": len(records),
        "block_limit": 1 << 20,
        "working_set": 1 << 20,
    }
    head = pack_head(Header(**{**fields, **changes}), records)
    return head, sha(head)


def cases():
    for name, comment, source, target in pairs():
        patch, index = built(source, target)
        yield case(name, comment, source, patch, index, target)
    yield from wrong_sources()
    yield from changed_patches()
    yield from unsupported_patches()
    yield from truncated_patches()
    yield from by_hand()


@cache
def genuine_patch():
    """The source, the patch and its index digest that the damaged cases are made from."""
    _, _, source, target = next(pairs())
    return source, *built(source, target)


def head_size(patch):
    return PREAMBLE_SIZE + RECORD.size * HEADER.unpack_from(patch)[7]


def damaged(name, comment, patch, code, attack="malicious_mirror"):
    source, _, index = genuine_patch()
    return case(name, comment, source, patch, index, code, attack)


def wrong_sources():
    source, patch, index = genuine_patch()
    yield case(
        "source-changed",
        "another source than the patch was made from",
        bytes(len(source)),
        patch,
        index,
        "base_mismatch",
        "mix_and_match",
    )
    yield case(
        "source-short", "a truncated source", source[:100], patch, index, "base_missing", "mix_and_match"
    )


def changed_patches():
    source, patch, _ = genuine_patch()
    payload, record, digest = head_size(patch) + 3, PREAMBLE_SIZE + 60, HEADER.size + 40
    yield damaged("payload-changed", "one bit of a payload changed", flip(patch, payload), "patch_corrupt")
    yield damaged("index-changed", "one bit of the index changed", flip(patch, record), "index_mismatch")
    yield damaged(
        "target-digest-changed",
        "one bit of the target digest in the header changed",
        flip(patch, digest),
        "index_mismatch",
    )
    yield case(
        "other-index",
        "a genuine patch with another index than was signed",
        source,
        patch,
        sha(b"other"),
        "index_mismatch",
        "arbitrary_software",
    )
    yield damaged("magic-changed", "not a patch", flip(patch, 1), "patch_corrupt")
    converted = patch.replace(b"\r\n", b"\n", 1)
    yield damaged("text-mode", "line ends converted in transfer", converted, "patch_corrupt")


def unsupported_patches():
    _, patch, _ = genuine_patch()
    attack = "parser_differences"
    yield damaged("version-2", "a later version", flip(patch, 9), "patch_unsupported", attack)
    yield damaged("unknown-flag", "an unknown flag", flip(patch, 14), "patch_unsupported", attack)


def truncated_patches():
    _, patch, _ = genuine_patch()
    head, code = head_size(patch), "patch_truncated"
    yield damaged("cut-in-header", "truncated after 100 bytes", patch[:100], code)
    yield damaged("cut-in-index", "truncated in the index", patch[: head - 1], code)
    yield damaged("cut-in-payload", "truncated in a payload", patch[: head + 20], code)
    yield damaged("empty", "no bytes", b"", code)


def by_hand():
    source = weights(4096, 5).tobytes()
    good, index = plain(source, (BlockOp.COPY, 1000, 96), (BlockOp.ZERO, 24, 0), (BlockOp.COPY, 3000, 1096))
    target = source[96:1096] + bytes(24) + source[1096:4096]
    yield case("copy-and-zero", "the simplest patch: copies and zeros", source, good, index, target)
    yield case(
        "notes-behind", "bytes after the last block are ignored", source, good + b"notes", index, target
    )
    nothing, index = plain(source)
    yield case("empty-target", "an empty target", source, nothing, index, b"")
    patches_by_name = {
        "reads-behind-source": (plain(source, (BlockOp.COPY, 4097, 0)), "patch_corrupt"),
        "starts-behind-source": (plain(source, (BlockOp.COPY, 1, 5000)), "patch_corrupt"),
        "sum-too-large": (plain(source, (BlockOp.COPY, 10, 0), target_size=11), "patch_corrupt"),
        "sum-too-small": (plain(source, (BlockOp.COPY, 10, 0), target_size=9), "patch_corrupt"),
        "payloads-missing": (plain(source, (BlockOp.COPY, 10, 0), payload_size=1), "patch_corrupt"),
        "empty-block": (plain(source, (BlockOp.ZERO, 0, 0)), "patch_corrupt"),
        "huge-working-set": (plain(source, (BlockOp.COPY, 10, 0), working_set=0xFFFFFFFF), "patch_too_large"),
        "huge-blocks": (plain(source, (BlockOp.COPY, 10, 0), block_limit=1 << 30), "patch_too_large"),
        "huge-index": (plain(source, (BlockOp.COPY, 10, 0), block_count=0xFFFFFFFF), "patch_too_large"),
        "wrong-reversible-flag": (plain(source, (BlockOp.COPY, 10, 0), reversible=True), "patch_corrupt"),
        "last-block-elsewhere": (
            plain(source, (BlockOp.COPY, 10, 0), target_sha256=bytes(32)),
            "patch_corrupt",
        ),
    }
    for name, ((patch, index), code) in patches_by_name.items():
        attack = "endless_data" if name.startswith("huge") or "sum" in name else "arbitrary_software"
        yield case(
            f"signed-{name}",
            f"a stolen patcher key: {name.replace('-', ' ')}",
            source,
            patch,
            index,
            code,
            attack,
        )
