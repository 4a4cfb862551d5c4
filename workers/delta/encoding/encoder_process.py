"""The program of an encoder process, started by `EncoderPool`.

It inherits file descriptors instead of opening paths, so it reads the same files as its parent even if the paths were
replaced meanwhile.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection

from sdk_contract.patch.malloc_tuning import keep_freed_memory
from workers.delta.encoding.block import encode_block
from workers.delta.encoding.encoded import BlockResult
from workers.delta.local_file import LocalFile
from workers.delta.matching.alignment import Piece

# Interval at which an idle process checks that its parent lives, because another process can keep the pipe open.
PARENT_CHECK_S = 2.0
Batch = tuple[tuple[Piece, ...], ...]


def encode_batch(
    batch: Batch, source: LocalFile, target: LocalFile, payload_file: int, offset: int, *, reversible: bool
) -> object:
    """Encode a batch; return payload sizes and results without payloads, or the exception that occurred.

    The payloads are written to the payload file from `offset` on: pages of a shared file are cheaper than a pipe.
    """
    try:
        encoded = (encode_block(pieces, source, target, reversible=reversible) for pieces in batch)
        results = [BlockResult.from_block(block) for block in encoded]
        for result in results:
            offset += os.pwrite(payload_file, result.payload, offset)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return error
    return [(len(result.payload), result._replace(payload=b"")) for result in results]


def serve(pipe: Connection, source: LocalFile, target: LocalFile, payload_file: int, parent: int) -> None:
    """Encode batches in order until the pipe is closed or the parent has ended."""
    pipe.send("ready")
    while True:
        while not pipe.poll(PARENT_CHECK_S):
            if os.getppid() != parent:
                return
        batch, offset, reversible = pipe.recv()
        pipe.send(encode_batch(batch, source, target, payload_file, offset, reversible=reversible))


def main(arguments: list[str]) -> None:
    """Run the encoder process until its pipe is closed. It ignores Ctrl-C, which its parent handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    pipe, payload_file, old, new, parent = map(int, arguments)
    with LocalFile(old) as source, LocalFile(new) as target:
        try:
            serve(Connection(pipe), source, target, payload_file, parent)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
