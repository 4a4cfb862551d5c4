"""The process that encodes runs of blocks for another one: `python -m workers.delta.encoder PIPE OLD NEW PARENT`.

It gets descriptors, not paths: what it reads are the files that its parent opened, whatever their names mean by now.
"""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from sdk_contract.patch.heap import keep_heap
from workers.delta.align import Piece
from workers.delta.coded import Coded
from workers.delta.encode import encode_block
from workers.delta.ranges import LocalFile

# How often an idle process looks whether its parent still lives, should the pipe be kept open by somebody else.
LOOK_S = 2.0
Run = tuple[tuple[Piece, ...], ...]


def encode_run(blocks: Run, source: LocalFile, target: LocalFile, *, reversible: bool) -> object:
    """The encoded blocks, or what went wrong."""
    try:
        return [Coded.of(encode_block(pieces, source, target, reversible=reversible)) for pieces in blocks]
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return error


def serve(pipe: Connection, source: LocalFile, target: LocalFile, parent: int) -> None:
    """Answer every run, in order, until the pipe ends.

    Answers leave in a thread of their own: a parent that is busy does not keep the next run waiting, and while
    it sends one it need not read at the same time.
    """
    with ThreadPoolExecutor(1, "answers") as sender:
        pipe.send("ready")
        while True:
            while not pipe.poll(LOOK_S):
                if os.getppid() != parent:
                    return
            blocks, reversible = pipe.recv()
            sender.submit(pipe.send, encode_run(blocks, source, target, reversible=reversible))


def main(arguments: list[str]) -> None:
    """Entrance of the process; an ended pipe ends it, and nobody else does: Ctrl-C is its parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_heap()
    pipe, old, new, parent = map(int, arguments)
    with LocalFile(old) as source, LocalFile(new) as target:
        try:
            serve(Connection(pipe), source, target, parent)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
