"""One run of the poll or the event benchmark, on temporary servers."""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import text

from service.api.baseline_app import create_baseline_app
from service.benchmarks import cases, http_load, wrk
from service.benchmarks.cases import Case, device_blocks, run_cases
from service.config import Settings
from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.infrastructure.embedded import Endpoints
from service.infrastructure.tokens import AccessTokens
from service.serving.snapshots.loader import load_snapshot
from service.testbed import dataset
from service.testbed.devices import POLL, SyntheticDevice, access_token_request, poll_body, synthetic_device
from service.testbed.environment import SECRET, populated_api_settings, running_app
from service.testbed.server_process import api_process

DEVICES = 12_000
"""Polling devices; enough for all rounds, since a device is offered a version only once."""
TOKENS = AccessTokens(SECRET.encode(), 3600)


class BenchmarkRun:
    """A run with its own servers and devices."""

    def __init__(self, directory: Path, endpoints: Endpoints, console: Console) -> None:
        """Create the devices.

        Args:
            directory: for logs and keys.
            endpoints: temporary servers.
            console: for progress.
        """
        self._directory = directory
        self._endpoints = endpoints
        self._console = console
        self._devices = [synthetic_device(index) for index in range(DEVICES)]
        self._blocks: Iterator[Sequence[SyntheticDevice]] = device_blocks(self._devices)

    async def poll(self, rounds: int, *, big: bool, over_sockets: bool) -> dict[str, Any]:
        """Measure polls; return the result as `--json` prints it."""
        sizes = {"usual": dataset.USUAL} | ({"small": dataset.SMALL, "big": dataset.BIG} if big else {})
        async with AsyncExitStack() as stack:
            settings = {name: self._populate(name, size) for name, size in sizes.items()}
            apps = {name: await stack.enter_async_context(running_app(one)) for name, one in settings.items()}
            measured = [_baseline_case(), *_poll_cases(apps), *_event_cases(apps["usual"])[1:]]
            await run_cases(measured, rounds, self._blocks, self._report)
            result = _result(measured)
            if big:
                result["snapshot_rebuild_s"] = _snapshot_rebuild_s(settings["big"])
        if over_sockets:
            await self._add_socket_results(settings["big" if big else "usual"], result)
        return result

    async def events(self, rounds: int) -> dict[str, Any]:
        """Measure events; return the result as `--json` prints it."""
        async with running_app(self._populate("usual", dataset.USUAL)) as app:
            measured = [_baseline_case(), _poll_cases({"usual": app})[0], *_event_cases(app)]
            await run_cases(measured, rounds, self._blocks, self._report)
            return _result(measured)

    def _populate(self, name: str, size: dataset.DatasetSize) -> Settings:
        self._report(f"populating the {name} dataset: {size.devices:,} devices, {size.rollouts} rollouts")
        return populated_api_settings(self._endpoints, self._directory, size, self._devices)

    async def _add_socket_results(self, settings: Settings, result: dict[str, Any]) -> None:
        now = utc_now()
        requests = [
            access_token_request(
                device,
                POLL,
                poll_body(device, dataset.NO_UPDATE_MODEL, dataset.CURRENT_VERSION),
                TOKENS,
                now,
            )
            for device in self._devices
        ]
        # A garbage collection in this process would look like a slow response of the server.
        gc.collect()
        gc.freeze()
        async with api_process(settings, self._directory) as (pid, port):
            self._report("over sockets: highest rate")
            peak = await http_load.peak_rate(port, requests)
            self._report(f"over sockets: {peak:.0f} polls per second; latency at half of that")
            steady = await http_load.latency_p99_ms(port, requests, peak / 2)
            self._report("the same while the snapshot is rebuilt")
            rebuilding = await http_load.latency_p99_ms_while_rebuilding(
                port, requests, peak / 2, settings.database_url
            )
            result["per_second"]["sockets"] = round(peak)
            result["p99_ms"] = {"half_of_peak": steady, "while_rebuilding": rebuilding}
            result["rss_mb"] = {"api": http_load.peak_memory_mb(pid)}
            program = wrk.find_wrk()
            if program is not None:
                result["wrk_per_second"] = await self._rates_by_wrk(program, port)

    async def _rates_by_wrk(self, program: str, port: int) -> dict[str, int]:
        polls = cases.access_token_polls(dataset.NO_UPDATE_MODEL, TOKENS)
        makers = {
            "poll_access_jwt": polls,
            "poll_device_key": cases.device_key_polls,
            "offer": cases.access_token_polls(dataset.UPDATE_MODEL, TOKENS),
            "events_1": cases.event_batches(1, TOKENS),
            "events_50": cases.repeated_event_batches(50, TOKENS),
        }
        rates = {}
        async with http_load.baseline_process(self._directory) as baseline_port:
            targets = [
                ("baseline", baseline_port, polls),
                *((name, port, one) for name, one in makers.items()),
            ]
            for name, target, make in targets:
                self._report(f"by wrk: {name}")
                rates[name] = round(
                    await wrk.successes_per_second(program, target, make(self._devices), self._directory)
                )
        return rates

    def _report(self, line: str) -> None:
        self._console.print(f"· {line}")


def _baseline_case() -> Case:
    polls = cases.access_token_polls(dataset.NO_UPDATE_MODEL, TOKENS)
    return Case("baseline", create_baseline_app(), polls, cases.expect_ok)


def _poll_cases(apps: dict[str, Any]) -> list[Case]:
    polls, usual = cases.access_token_polls(dataset.NO_UPDATE_MODEL, TOKENS), apps["usual"]
    offers = cases.access_token_polls(dataset.UPDATE_MODEL, TOKENS)
    return [
        Case("poll_access_jwt", usual, polls, cases.expect_no_update),
        Case("poll_device_key", usual, cases.device_key_polls, cases.expect_no_update),
        Case("offer", usual, offers, cases.expect_offer),
        *(Case(name, apps[name], polls, cases.expect_no_update) for name in ("small", "big") if name in apps),
    ]


def _event_cases(app: Any) -> list[Case]:
    return [
        Case("events_1", app, cases.event_batches(1, TOKENS), cases.expect_events_accepted),
        Case(
            "events_50",
            app,
            cases.event_batches(50, TOKENS),
            cases.expect_events_accepted,
            items_per_request=50,
        ),
    ]


def _snapshot_rebuild_s(settings: Settings) -> float:
    """Time to load the snapshot once, seconds."""
    engine = database.engine_for(settings.database_url)
    try:
        with database.read_only(engine) as session:
            session.execute(text("select 1"))
            started = time.perf_counter()
            load_snapshot(session)
            return round(time.perf_counter() - started, 3)
    finally:
        engine.dispose()


def _result(measured: Sequence[Case]) -> dict[str, Any]:
    """Ratios of throughput, and what one core can do per second."""
    cpu_us = {case.name: case.cpu_us_per_item() for case in measured}
    ratios: dict[str, float] = {
        name: cpu_us["baseline"] / cpu_us[name]
        for name in ("poll_access_jwt", "poll_device_key", "offer")
        if name in cpu_us
    }
    ratios["events_50"] = cpu_us["poll_access_jwt"] / cpu_us["events_50"]
    if "big" in cpu_us:
        ratios["big_over_small"] = cpu_us["small"] / cpu_us["big"]
    return {
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "per_second": {name: round(1e6 / value) for name, value in cpu_us.items()},
        "cpu_us": {name: round(value, 1) for name, value in cpu_us.items()},
        "p99_ms": {},
        "rss_mb": {},
    }
