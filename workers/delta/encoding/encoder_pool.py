"""Encode blocks on several cores: batches in child processes, other blocks in this process, results in order.

Threads would gain little, because NumPy holds the GIL during most of its calls. The processes are started as programs:
a Celery worker is daemonic and may not have children of `multiprocessing`, and a fork beside threads is unsafe.
"""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import BinaryIO, Self

from workers.delta.encoding.block import encode_block
from workers.delta.encoding.encoded import BlockResult, EncodedBlock
from workers.delta.layouts.layout import RangeReader
from workers.delta.local_file import LocalFile
from workers.delta.matching.alignment import Piece
from workers.delta.matching.blocks import SPARSE_BLOCK_BYTES

# A process with two batches never waits for its parent, and small batches keep the wait at the end short.
BLOCKS_PER_BATCH, MAX_PENDING_BATCHES = 2, 2
# Batches of more pieces are encoded here: pending messages must fit into the pipe, or both sides block.
MAX_PIECES_PER_BATCH = 512
# Each pending batch has a slot of this size in the payload file.
PAYLOAD_SLOT_BYTES = BLOCKS_PER_BATCH * (2 * SPARSE_BLOCK_BYTES)
Blocks = Sequence[tuple[Piece, ...]]


class EncoderDied(Exception):
    """An encoder process ended before its work was done, for example because the system ran out of memory."""


def _start_process(*files: Connection | BinaryIO | LocalFile) -> "subprocess.Popen[bytes]":
    """Start an encoder process that inherits these open files."""
    descriptors = [file.fileno() for file in files]
    # `-P` keeps `-m` from importing modules of the current directory.
    command = [sys.executable, "-P", "-m", "workers.delta.encoding.encoder_process"]
    command += map(str, (*descriptors, os.getpid()))
    paths = os.pathsep.join(path for path in sys.path if path)
    # Without the limit, OpenBLAS starts threads that are never used.
    environment = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors, env=environment)


@dataclass(slots=True)
class EncoderProcess:
    """An encoder process, seen from its parent.

    It gets no batch before it reports that it is ready: a slow start would delay all blocks after its first one.

    Attributes:
        payload_file: shared with the process, which writes payloads to it.
        pending: the block numbers of each submitted batch without a result, oldest first.
        submitted, received: number of batches.
    """

    process: "subprocess.Popen[bytes]"
    pipe: Connection
    payload_file: BinaryIO
    ready: bool = False
    pending: deque[list[int]] = field(default_factory=deque)
    submitted: int = 0
    received: int = 0

    @classmethod
    def start(cls, source: LocalFile, target: LocalFile) -> Self:
        """Start a process that inherits both files."""
        ours, theirs = Pipe()
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.enter_context(ours)
            payload_file = on_failure.enter_context(tempfile.TemporaryFile(buffering=0))
            process = _start_process(theirs, payload_file, source, target)
            on_failure.pop_all()
        return cls(process, ours, payload_file)

    def submit(self, blocks: Blocks, numbers: list[int], *, reversible: bool) -> None:
        """Send a batch of blocks to the process.

        Raises:
            EncoderDied: the process has ended.
        """
        try:
            slot = self.submitted % MAX_PENDING_BATCHES * PAYLOAD_SLOT_BYTES
            self.pipe.send((tuple(blocks[number] for number in numbers), slot, reversible))
        except ConnectionError as error:
            raise self._death() from error
        self.pending.append(numbers)
        self.submitted += 1

    def receive(self) -> dict[int, BlockResult]:
        """Receive the next message: results of the oldest batch by block number, or the first message, "ready".

        Raises:
            EncoderDied: the process has ended.
            EOFError, OSError: the process could not read a file.
        """
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._death() from error
        if isinstance(message, Exception):
            raise message
        if not self.ready:
            self.ready = True
            return {}
        results, offset = {}, self.received % MAX_PENDING_BATCHES * PAYLOAD_SLOT_BYTES
        for number, (size, result) in zip(self.pending.popleft(), message, strict=True):
            results[number] = result._replace(payload=os.pread(self.payload_file.fileno(), size, offset))
            offset += size
        self.received += 1
        return results

    def _death(self) -> EncoderDied:
        status = self.process.wait()
        return EncoderDied(f"encoder process {self.process.pid} ended with status {status}")

    def kill(self) -> None:
        """Kill the process; it has no state that needs a clean shutdown."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.payload_file.close()


@dataclass(slots=True)
class EncoderPool:
    """Encodes the blocks of two files in this process and, after `start`, in `cores - 1` others.

    A context manager: leaving it ends the processes.
    """

    source: RangeReader
    target: RangeReader
    cores: int
    encoders: list[EncoderProcess] = field(default_factory=list)
    encoder_of_pipe: dict[int, EncoderProcess] = field(default_factory=dict)
    poller: select.poll = field(default_factory=select.poll)

    def start(self) -> None:
        """Start the other processes, if both files are local; this process goes on while they import modules.

        If the system cannot start all of them, or one ends before it is ready, the remaining processes do the work.
        """
        if isinstance(self.source, LocalFile) and isinstance(self.target, LocalFile):
            with contextlib.suppress(OSError):
                while len(self.encoders) < self.cores - 1:
                    self._add(EncoderProcess.start(self.source, self.target))

    def _add(self, encoder: EncoderProcess) -> None:
        self.encoders.append(encoder)
        self.encoder_of_pipe[encoder.pipe.fileno()] = encoder
        self.poller.register(encoder.pipe, select.POLLIN)

    def _remove(self, encoder: EncoderProcess) -> None:
        self.poller.unregister(encoder.pipe)
        del self.encoder_of_pipe[encoder.pipe.fileno()]
        self.encoders.remove(encoder)
        encoder.kill()

    def __enter__(self) -> Self:
        """Return the pool; no process is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        for encoder in self.encoders:
            encoder.kill()

    def encode(
        self, blocks: Blocks, known: Mapping[int, BlockResult], *, reversible: bool
    ) -> Iterator[EncodedBlock]:
        """Yield the encoded blocks in order; a bounded number is encoded ahead.

        Args:
            blocks: the blocks to encode.
            known: results of blocks that are encoded already, by number.
            reversible: as in `encode_block`.

        Raises:
            EncoderDied: a process ended before its work was done.
            EOFError, OSError: a file cannot be read.
        """
        max_ahead = BLOCKS_PER_BATCH * MAX_PENDING_BATCHES * self.cores + BLOCKS_PER_BATCH
        results = dict(known)
        next_unassigned = next_output = 0
        while next_output < len(blocks):
            end = min(len(blocks), next_output + max_ahead)
            window = range(next_unassigned, end)
            next_unassigned = self._submit_batches(blocks, window, known, reversible=reversible)
            results |= self._collect_results(wait=False)
            if next_output in results:
                yield self._restore_block(blocks[next_output], results.pop(next_output))
                next_output += 1
            elif next_unassigned < end:
                block = encode_block(blocks[next_unassigned], self.source, self.target, reversible=reversible)
                if next_unassigned == next_output:
                    yield block
                    next_output += 1
                else:
                    results[next_unassigned] = BlockResult.from_block(block)
                next_unassigned += 1
            else:
                results |= self._collect_results(wait=True)

    def _submit_batches(
        self, blocks: Blocks, window: range, known: Mapping[int, BlockResult], *, reversible: bool
    ) -> int:
        """Submit batches to processes with free slots; return the first unassigned number, or the window's end."""
        unassigned = deque(number for number in window if number not in known)
        for encoder in self.encoders:
            while encoder.ready and unassigned and len(encoder.pending) < MAX_PENDING_BATCHES:
                numbers = list(islice(unassigned, BLOCKS_PER_BATCH))
                if sum(len(blocks[number]) for number in numbers) > MAX_PIECES_PER_BATCH:
                    return numbers[0]
                encoder.submit(blocks, numbers, reversible=reversible)
                for _ in numbers:
                    unassigned.popleft()
        return unassigned[0] if unassigned else window.stop

    def _collect_results(self, *, wait: bool) -> dict[int, BlockResult]:
        """Return the results that are available; with `wait`, wait for at least one message."""
        results: dict[int, BlockResult] = {}
        for descriptor, _ in self.poller.poll(None if wait else 0):
            encoder = self.encoder_of_pipe[descriptor]
            try:
                results |= encoder.receive()
            except EncoderDied:
                if encoder.ready:
                    raise
                self._remove(encoder)
        return results

    def _restore_block(self, pieces: tuple[Piece, ...], result: BlockResult) -> EncodedBlock:
        """Combine a result with its pieces and its target bytes, which are read here instead of being sent."""
        return EncodedBlock(
            pieces=result.restore_pieces(pieces),
            target=self.target.read(pieces[0].target_offset, sum(piece.size for piece in pieces)),
            source=None,
            payload=result.payload,
            reversible=result.reversible,
            source_digest=result.source_digest,
            payload_digest=result.payload_digest,
        )
