"""The requests of the load, as bytes: polls, and between them reports of which none is like another."""

from itertools import count, cycle

from service.cli.bench import world
from service.cli.bench.fleet import EVENTS, POLL, events_body, handset, poll_body, with_access_token
from service.cli.bench.stage import SECRET
from service.cli.bench.wire import raw
from service.tokens import AccessTokens, utc_now

_ID_TAIL = 12
"""Hexadecimal digits at the end of an event's id that are free in version 7."""
_TEMPLATES = 200


class Requests:
    """One after the other, without end."""

    def __init__(self, devices: int, report_every: int) -> None:
        """Prepare what so many devices say."""
        tokens, now = AccessTokens(SECRET.encode(), 3600), utc_now()
        fleet = [handset(index) for index in range(devices)]
        polls = [
            raw(with_access_token(one, POLL, poll_body(one, world.QUIET, world.RUNNING), tokens, now))
            for one in fleet
        ]
        reports = [
            raw(with_access_token(one, EVENTS, events_body(1), tokens, now)) for one in fleet[:_TEMPLATES]
        ]
        self._polls, self._reports = cycle(polls), cycle([_around_id(one) for one in reports])
        self._report_every, self._number = report_every, count(1)

    def next(self) -> bytes:
        """The next one: each poll may come again, as polls by access token do, each report is new."""
        number = next(self._number)
        if number % self._report_every:
            return next(self._polls)
        before, after = next(self._reports)
        return b"%b%012x%b" % (before, number, after)


def _around_id(report: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the free digits of the event's id."""
    mark = b'"event_id": "'
    end = report.index(b'"', report.index(mark) + len(mark))
    return report[: end - _ID_TAIL], report[end:]
