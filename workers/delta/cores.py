"""Blocks encoded on several cores: runs of them in processes, the others here, in order.

Threads would do little: NumPy keeps the interpreter's lock through most of its calls. Processes are started as
programs, because a worker of Celery may not fork children of `multiprocessing`, and a fork beside threads is unsafe.
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

from workers.delta.align import Piece
from workers.delta.blocks import SPARSE_BLOCK
from workers.delta.coded import Coded, EncodedBlock
from workers.delta.encode import encode_block
from workers.delta.layouts.layout import RangeReader
from workers.delta.ranges import LocalFile

# Blocks that travel together, and how many such runs each process has before it: it never waits for its
# parent, and at the end nobody waits long for it.
RUN, AHEAD = 2, 2
# Runs of more pieces are not given away: what is on its way, there and back, must fit into the pipe, or both ends wait.
MOST_PIECES = 512
# Where the payloads of each run begin in the tray; there are never more on their way than places.
PLACE = RUN * (2 * SPARSE_BLOCK)
Blocks = Sequence[tuple[Piece, ...]]


class EncoderDied(Exception):
    """A process that encodes blocks ended before its work did: killed, or out of memory."""


def _started(*files: Connection | BinaryIO | LocalFile) -> "subprocess.Popen[bytes]":
    """The process, which gets these files as they are open here."""
    descriptors = [file.fileno() for file in files]
    # Only what we import from ourselves: `-m` would look into the current folder first.
    command = [sys.executable, "-P", "-m", "workers.delta.encoder"]
    command += map(str, (*descriptors, os.getpid()))
    paths = os.pathsep.join(path for path in sys.path if path)
    # NumPy's linear algebra would start threads that nobody needs.
    surroundings = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors, env=surroundings)


@dataclass(slots=True)
class Encoder:
    """One process, and the numbers of the blocks that it was given and has not brought back.

    It is given nothing before it says that it is there: what starts slowly would hold up the blocks behind its first.
    """

    process: "subprocess.Popen[bytes]"
    pipe: Connection
    tray: BinaryIO
    ready: bool = False
    given: deque[list[int]] = field(default_factory=deque)
    runs_given: int = 0
    runs_taken: int = 0

    @classmethod
    def start(cls, source: LocalFile, target: LocalFile) -> Self:
        """A process that has both files open."""
        ours, theirs = Pipe()
        with theirs, contextlib.ExitStack() as ended:
            ended.enter_context(ours)
            tray = ended.enter_context(tempfile.TemporaryFile(buffering=0))
            process = _started(theirs, tray, source, target)
            ended.pop_all()
        return cls(process, ours, tray)

    def give(self, blocks: Blocks, numbers: list[int], *, reversible: bool) -> None:
        """A run to encode.

        Raises:
            EncoderDied: the process is gone.
        """
        try:
            at = self.runs_given % AHEAD * PLACE
            self.pipe.send((tuple(blocks[number] for number in numbers), at, reversible))
        except ConnectionError as error:
            raise self._died() from error
        self.given.append(numbers)
        self.runs_given += 1

    def take(self) -> dict[int, Coded]:
        """What it says next: the oldest run that it was given, by block number, or at first that it is there.

        Raises:
            EncoderDied: the process is gone.
            EOFError, OSError: it could not read a file.
        """
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        if isinstance(answer, Exception):
            raise answer
        if not self.ready:
            self.ready = True
            return {}
        found, at = {}, self.runs_taken % AHEAD * PLACE
        for number, (size, coded) in zip(self.given.popleft(), answer, strict=True):
            found[number] = coded._replace(payload=os.pread(self.tray.fileno(), size, at))
            at += size
        self.runs_taken += 1
        return found

    def _died(self) -> EncoderDied:
        status = self.process.wait()
        return EncoderDied(f"process {self.process.pid} ended with status {status}")

    def end(self) -> None:
        """Kill it; it holds nothing but memory."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.tray.close()


@dataclass(slots=True)
class Cores:
    """Encodes blocks of two files in this process, and, once started, in `count - 1` others."""

    source: RangeReader
    target: RangeReader
    count: int
    encoders: list[Encoder] = field(default_factory=list)
    by_pipe: dict[int, Encoder] = field(default_factory=dict)
    poller: select.poll = field(default_factory=select.poll)

    def start(self) -> None:
        """Start the other processes, if the files are such as they can share; they import while we go on.

        Where the system gives no more processes, or they end before they begin, those that there are do the work.
        """
        if isinstance(self.source, LocalFile) and isinstance(self.target, LocalFile):
            with contextlib.suppress(OSError):
                while len(self.encoders) < self.count - 1:
                    self._add(Encoder.start(self.source, self.target))

    def _add(self, encoder: Encoder) -> None:
        self.encoders.append(encoder)
        self.by_pipe[encoder.pipe.fileno()] = encoder
        self.poller.register(encoder.pipe, select.POLLIN)

    def _remove(self, encoder: Encoder) -> None:
        self.poller.unregister(encoder.pipe)
        del self.by_pipe[encoder.pipe.fileno()]
        self.encoders.remove(encoder)
        encoder.end()

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        self._end()

    def _end(self) -> None:
        for encoder in self.encoders:
            encoder.end()

    def encode(
        self, blocks: Blocks, known: Mapping[int, Coded], *, reversible: bool
    ) -> Iterator[EncodedBlock]:
        """The blocks in order, a bounded number of them ahead.

        Args:
            blocks: what to encode.
            known: blocks that were encoded before, by number.
            reversible: as in `encode_block`.

        Raises:
            EncoderDied: a process ended too early.
            EOFError, OSError: a file cannot be read.
        """
        most = RUN * AHEAD * self.count + RUN
        ready = dict(known)
        given = done = 0
        while done < len(blocks):
            end = min(len(blocks), done + most)
            given = self._hand_out(blocks, range(given, end), known, reversible=reversible)
            ready |= self._brought(patient=False)
            if done in ready:
                yield self._whole(blocks[done], ready.pop(done))
                done += 1
            elif given < end:
                block = encode_block(blocks[given], self.source, self.target, reversible=reversible)
                if given == done:
                    yield block
                    done += 1
                else:
                    ready[given] = Coded.of(block)
                given += 1
            else:
                ready |= self._brought(patient=True)

    def _hand_out(
        self, blocks: Blocks, window: range, known: Mapping[int, Coded], *, reversible: bool
    ) -> int:
        """Give away what may be given; the first number in the window that is still to be done, or its end."""
        left = deque(number for number in window if number not in known)
        for encoder in self.encoders:
            while encoder.ready and left and len(encoder.given) < AHEAD:
                numbers = list(islice(left, RUN))
                if sum(len(blocks[number]) for number in numbers) > MOST_PIECES:
                    return numbers[0]
                encoder.give(blocks, numbers, reversible=reversible)
                for _ in numbers:
                    left.popleft()
        return left[0] if left else window.stop

    def _brought(self, *, patient: bool) -> dict[int, Coded]:
        """What the processes have finished; waits for one of them when there is nothing else to do."""
        found: dict[int, Coded] = {}
        for descriptor, _ in self.poller.poll(None if patient else 0):
            encoder = self.by_pipe[descriptor]
            try:
                found |= encoder.take()
            except EncoderDied:
                if encoder.ready:
                    raise
                self._remove(encoder)
        return found

    def _whole(self, pieces: tuple[Piece, ...], coded: Coded) -> EncodedBlock:
        """The block with its target bytes, which are read here instead of being sent."""
        return EncodedBlock(
            pieces=coded.of_pieces(pieces),
            target=self.target.read(pieces[0].target_offset, sum(piece.size for piece in pieces)),
            source=None,
            payload=coded.payload,
            reversible=coded.reversible,
            source_digest=coded.source_digest,
            payload_digest=coded.payload_digest,
        )
