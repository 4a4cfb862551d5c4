"""Content of the versions that scenarios publish."""

import os
import random
from pathlib import Path

from sdk_contract.conformance.fake_server.patches import BuiltPatch, Piece, build_patch

SIZE = 48 * 1024
GAP = 512


def random_content(seed: str, size: int = SIZE) -> bytes:
    """Bytes that do not compress; the same for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - content, not a secret


def patched_content(data: bytes) -> bytes:
    """`data` with zeros in its middle and its first bytes repeated at its end."""
    half = len(data) // 2
    return data[:half] + bytes(GAP) + data[half + GAP :] + data[:GAP]


def patch_to_patched_content(data: bytes) -> BuiltPatch:
    """The patch from `data` to `patched_content(data)`."""
    half, size = len(data) // 2, len(data)
    pieces = [
        Piece(half, 0),
        Piece(GAP),
        Piece(size - half - GAP, half + GAP),
        Piece(GAP, 0),
    ]
    return build_patch(data, pieces)


def flip_one_byte(path: str | Path) -> None:
    """Change one byte in the first half of a file, which may be read-only or a link."""
    real = Path(path).resolve()
    mode = real.stat().st_mode
    real.chmod(0o600)
    with real.open("r+b") as file:
        file.seek(real.stat().st_size // 4)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    real.chmod(mode)
