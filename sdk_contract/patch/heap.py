"""One setting of the C allocator, without which a third of the time goes into page faults."""

import numpy as np

BLOCK = 24 << 20


def keep_heap() -> None:
    """Let glibc keep what blocks free for the next block.

    By default glibc takes every array above 128 KiB from the system and gives it back at once, so each block
    faults its pages in anew. When a mapping of this size is freed, glibc raises both of its thresholds
    above it (mallopt(3), "dynamic mmap threshold"). Nothing is touched, so it costs no memory; where the
    allocator is another one it does nothing.
    """
    np.empty(BLOCK, np.uint8)
