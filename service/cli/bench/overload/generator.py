"""The load generator: one process, one thread, `epoll`; a plan comes in as JSON, what it has seen goes out as JSON.

A request that is due leaves at once: over an idle connection, or over a new one. Where as many are open as there may
be, it waits for the first that is idle. Answers are read in between. Nothing here waits for anything else.
"""

import errno
import json
import select
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from math import inf

from service.cli.bench.overload.lines import (
    CHUNK,
    Line,
    is_whole,
    number_after,
    outcome_of,
    stays_open,
)
from service.cli.bench.overload.plan import Outcome, Phase, Plan, Shape, Told, plan_of
from service.cli.bench.overload.requests import Requests
from service.cli.bench.overload.small import CpuClock
from service.cli.bench.overload.tally import Tally

BURST = 200
"""Requests that leave before answers are looked at again."""
WAIT_S = 0.01
ON_TIME_S = 0.1
"""A request that leaves later than that was not sent at the rate that the plan asks for."""
LOOK_EVERY = 8
"""Of so many answered polls one is read."""


class Generator:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        """Prepare; nothing is sent yet."""
        self._plan = plan
        self._requests = Requests(plan.devices, plan.report_every)
        self._tally = Tally()
        self._poll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._idle: list[Line] = []
        self._queue: deque[tuple[bytes, float, int]] = deque()
        self._deadlines: deque[tuple[float, Line, int]] = deque()
        self._most, self._limit = 0, plan.connections
        self._answered, self._accepted, self._lag_s, self._start = 0, 0, 0.0, 0.0
        self._statuses: dict[str, int] = {}

    def run(self) -> Told:
        """Do what the plan says, then wait for what is under way, no longer than its patience."""
        began, cpu = time.perf_counter(), time.process_time()
        self._start = began
        at_s, shares, server = 0.0, [], CpuClock(self._plan.pid)
        for phase in self._plan.phases:
            self._tally.begin(phase.name, at_s, phase.seconds)
            (self._closed if phase.per_second is None else self._open)(phase, at_s)
            at_s += phase.seconds
            shares.append(server.share())
        while self._queue or any(line.busy for line in self._lines.values()):
            self._turn(self._now() + WAIT_S)
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
        self._close_all()
        phases = self._tally.phases()
        for stretch, had in zip(phases, shares, strict=True):
            stretch.server_cpu = had
        return Told(
            phases,
            self._tally.windows(),
            self._accepted,
            round(self._lag_s * 1000, 1),
            round(share, 2),
            self._most,
            self._statuses,
        )

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _open(self, phase: Phase, began_s: float) -> None:
        """At a fixed rate, whatever comes back."""
        self._limit = self._plan.connections
        moments = _moments(phase, began_s)
        due, ends_s = next(moments), began_s + phase.seconds
        while (now := self._now()) < ends_s or due < inf:
            for _ in range(BURST):
                if due > now:
                    break
                self._lag_s = max(self._lag_s, now - due)
                self._arrive(due)
                due = next(moments)
            self._turn(min(due, ends_s))

    def _closed(self, phase: Phase, began_s: float) -> None:
        """As fast as answers come back, over few connections."""
        self._limit = self._plan.closed_loop
        ends_s = began_s + phase.seconds
        while (now := self._now()) < ends_s:
            while self._idle or len(self._lines) < self._limit:
                self._arrive(now)
            self._turn(ends_s)

    def _arrive(self, due: float) -> None:
        phase, request = self._tally.due(due), self._requests.next()
        if self._idle:
            self._give(self._idle.pop(), request, due, phase)
        elif len(self._lines) < self._limit:
            self._give(self._opened(), request, due, phase)
        else:
            self._queue.append((request, due, phase))

    def _opened(self) -> Line:
        line = Line.open(self._plan.port)
        self._lines[line.socket.fileno()] = line
        self._poll.register(line.socket, select.EPOLLIN)
        self._most = max(self._most, len(self._lines))
        return line

    def _give(self, line: Line, request: bytes, due: float, phase: int) -> None:
        line.take(request, due, phase)
        if self._now() - due <= ON_TIME_S:
            self._tally.sent(phase, due)
        self._deadlines.append((due + self._plan.patience_s, line, line.serial))
        self._send(line)

    def _send(self, line: Line) -> None:
        try:
            if not line.send():
                self._poll.modify(line.socket, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._lose(line, error)

    def _turn(self, until_s: float) -> None:
        """Read what has come, give up what took too long, send what waited for a connection."""
        wait_s = max(0.0, min(until_s - self._now(), WAIT_S))
        for number, events in self._poll.poll(wait_s, 1024):
            line = self._lines.get(number)
            if line is not None:
                self._look(line, events)
        now = self._now()
        self._give_up(now)
        while self._queue and (self._idle or len(self._lines) < self._limit):
            request, due, phase = self._queue.popleft()
            self._give(self._idle.pop() if self._idle else self._opened(), request, due, phase)

    def _look(self, line: Line, events: int) -> None:
        try:
            if events & select.EPOLLOUT and not line.connected and line.send():
                self._poll.modify(line.socket, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                self._read(line, line.socket.recv(CHUNK))
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(line, error)

    def _read(self, line: Line, data: bytes) -> None:
        if not data:
            self._lose(line, ConnectionResetError(errno.ECONNRESET, "closed"))
            return
        line.answer += data
        if line.busy and is_whole(line.answer):
            self._answer(line)

    def _answer(self, line: Line) -> None:
        outcome = outcome_of(line.answer)
        self._note(line, outcome)
        if outcome is Outcome.ANSWERED:
            self._heed(line)
        elif outcome is Outcome.OTHER_STATUS:
            status = line.answer[9:12].decode(errors="replace")
            self._statuses[status] = self._statuses.get(status, 0) + 1
        if self._plan.shape is Shape.KEPT and stays_open(line.answer):
            line.busy = False
            self._idle.append(line)
        else:
            self._drop(line)

    def _heed(self, line: Line) -> None:
        """Reports say how much was taken in; some of the polls are asked when to come again."""
        self._answered += 1
        if line.answer[9:12] == b"202":
            self._accepted += number_after(line.answer, b'"accepted":') or 0
        elif self._answered % LOOK_EVERY == 0:
            pause = number_after(line.answer, b'"next_poll_s":')
            if pause is not None:
                self._tally.pause(line.phase, line.at_s, pause)

    def _lose(self, line: Line, error: OSError) -> None:
        """A connection that ends; between two requests that is nobody's fault."""
        if line.busy:
            refused = error.errno == errno.ECONNREFUSED
            self._note(line, Outcome.REFUSED if refused else Outcome.RESET)
        else:
            self._idle.remove(line)
        self._drop(line)

    def _give_up(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, line, serial = self._deadlines.popleft()
            if line.busy and line.serial == serial and line.socket.fileno() in self._lines:
                self._note(line, Outcome.TIMED_OUT if line.connected else Outcome.NOT_CONNECTED)
                self._drop(line)
        while self._queue and self._queue[0][1] + self._plan.patience_s <= now:
            _, due, phase = self._queue.popleft()
            self._tally.note(phase, due, Outcome.NOT_SENT, 0.0)

    def _note(self, line: Line, outcome: Outcome) -> None:
        self._tally.note(line.phase, line.at_s, outcome, self._now() - line.at_s)

    def _drop(self, line: Line) -> None:
        line.busy = False
        del self._lines[line.socket.fileno()]
        line.socket.close()

    def _close_all(self) -> None:
        for line in list(self._lines.values()):
            self._drop(line)
        self._poll.close()


def _moments(phase: Phase, began_s: float) -> Iterator[float]:
    """When each request of a phase is due, then for ever never."""
    rate = phase.per_second or 0.0
    for number in range(int(phase.seconds * rate)):
        yield began_s + number / rate
    while True:
        yield inf


def main() -> None:
    """Read a plan, carry it out, tell."""
    plan = plan_of(json.load(sys.stdin))
    sys.stdout.write(json.dumps(asdict(Generator(plan).run())))


if __name__ == "__main__":
    main()
