"""Runs the C library in a separate process."""

import os
import struct
import subprocess
from pathlib import Path

OPTIONS = "max_allocation_size_mb=80"
NAMES = {1: "write_failed", 2: "no_memory", 3: "wrong_use"}
NAMES |= {
    3001: "base_missing",
    3002: "base_mismatch",
    3003: "patch_corrupt",
    3004: "patch_too_large",
    3005: "patch_unsupported",
    3006: "patch_truncated",
    3007: "target_mismatch",
    3008: "index_mismatch",
}


class Driver:
    """A process that applies patches with the C library."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"ASAN_OPTIONS": OPTIONS},
        )

    def apply(
        self,
        source: bytes,
        patch: bytes,
        index_sha256: bytes = b"",
        *,
        each: int = 4096,
        front: bytes = b"",
        done: int = 0,
    ) -> tuple[str, bytes]:
        """Apply a patch; returns the error code or `ok`, and the written part of the target."""
        head = struct.pack("<6I", len(source), len(patch), each, done, len(front), bool(index_sha256))
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(head + (index_sha256 or bytes(32)) + source + patch + front)
        self._process.stdin.flush()
        response = self._process.stdout.read(8)
        assert len(response) == 8, "the process crashed"
        status, size = struct.unpack("<2I", response)
        return NAMES[status] if status else "ok", self._process.stdout.read(size)

    def close(self) -> int:
        self._process.communicate()
        return self._process.returncode
