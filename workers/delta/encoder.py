"""The process that encodes runs of blocks for another one: `python -m workers.delta.encoder`.

It gets descriptors, not paths: what it reads are the files that its parent opened, whatever their names mean by now.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection

from sdk_contract.patch.heap import keep_heap
from workers.delta.align import Piece
from workers.delta.coded import Coded
from workers.delta.encode import encode_block
from workers.delta.ranges import LocalFile

# How often an idle process looks whether its parent still lives, should the pipe be kept open by somebody else.
LOOK_S = 2.0
Run = tuple[tuple[Piece, ...], ...]


def encode_run(
    blocks: Run, source: LocalFile, target: LocalFile, tray: int, at: int, *, reversible: bool
) -> object:
    """The encoded blocks, or what went wrong.

    Payloads go into the tray from `at` on, one after the other: a file whose pages both processes see costs less
    than a pipe. What is answered instead of them is their sizes.
    """
    try:
        coded = [Coded.of(encode_block(pieces, source, target, reversible=reversible)) for pieces in blocks]
        for block in coded:
            at += os.pwrite(tray, block.payload, at)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return error
    return [(len(block.payload), block._replace(payload=b"")) for block in coded]


def serve(pipe: Connection, source: LocalFile, target: LocalFile, tray: int, parent: int) -> None:
    """Answer every run, in order, until the pipe ends."""
    pipe.send("ready")
    while True:
        while not pipe.poll(LOOK_S):
            if os.getppid() != parent:
                return
        blocks, at, reversible = pipe.recv()
        pipe.send(encode_run(blocks, source, target, tray, at, reversible=reversible))


def main(arguments: list[str]) -> None:
    """Entrance of the process; an ended pipe ends it, and nobody else does: Ctrl-C is its parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_heap()
    pipe, tray, old, new, parent = map(int, arguments)
    with LocalFile(old) as source, LocalFile(new) as target:
        try:
            serve(Connection(pipe), source, target, tray, parent)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
