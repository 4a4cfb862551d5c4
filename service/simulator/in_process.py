"""A simulation inside this process: the real application and database, no sockets, and virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from service import store
from service.cli.errors import CliError
from service.config import Settings
from service.domain.rollouts.policy import parse_policy
from service.infrastructure import database
from service.infrastructure.tokens import AccessTokens
from service.operations.fleet import cohorts
from service.operations.outcomes import attempts
from service.operations.platform import api_tokens
from service.operations.rollouts import gates, records
from service.simulator import rollout_limits
from service.simulator.devices import VirtualDevice
from service.simulator.scenario import Scenario
from service.simulator.virtual_clock import PeriodicTask, VirtualClock
from service.store.releases import versions
from service.testbed import dataset
from service.testbed.asgi import send
from service.testbed.devices import bearer_request
from service.testbed.environment import (
    SECRET,
    api_settings,
    create_empty_database,
    running_app,
    temporary_servers,
)

GATE_INTERVAL_S = 300.0
SWEEP_INTERVAL_S = 900.0
ROLLOUT = "simulated"
ACTOR = "simulate"
TOKEN_TTL_S = 3600
DAY_S = 86_400
_INSERT_DEVICES = text(
    """insert into devices (id, status, attributes)
       select id, 'accepted', '{}'::jsonb from unnest(cast(:ids as text[])) as one(id)"""
)


@dataclass(slots=True)
class InProcessServer:
    """The application with its database; does what a release manager and the workers would do.

    Attributes:
        admin_token: API token with the scope `admin`.
        fleet_size: number of devices.
        rollout_started: whether the scenario's rollout exists.
        observed_open: the highest number of open downloads so far.
    """

    app: Any
    scenario: Scenario
    clock: VirtualClock
    admin_token: str
    device_tokens: AccessTokens
    fleet_size: int
    rollout_started: bool = False
    observed_open: int = 0

    async def post(self, device: VirtualDevice, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request of a device; return status and body."""
        token = self.device_tokens.issue(device.id, {}, self.clock.now())
        response = await send(self.app, bearer_request(path, body, token))
        return response.status, response.body

    def periodic_tasks(self) -> list[PeriodicTask]:
        """Gate evaluation and the sweep of overdue attempts."""
        return [(GATE_INTERVAL_S, self._evaluate_gates), (SWEEP_INTERVAL_S, self._sweep)]

    async def rollout_result(self) -> dict[str, Any]:
        """State, history and limits of the rollout; empty if it has not started."""
        return await asyncio.to_thread(self._read_result) if self.rollout_started else {}

    async def _evaluate_gates(self) -> None:
        is_due = self.clock.now_s >= self.scenario.rollout_start_hour * 3600
        if not self.rollout_started and self.scenario.target and is_due:
            await self._start_rollout()
        await asyncio.to_thread(self._evaluate_monitored_rollouts)
        if self.rollout_started and self.scenario.pacing.open_downloads is not None:
            await asyncio.to_thread(self._observe_open_downloads)
        await asyncio.to_thread(self.app.state.process.snapshots.refresh)

    async def _start_rollout(self) -> None:
        self.rollout_started = True
        stages = [
            {
                "cohort": "everyone",
                "percent": stage.percent,
                "advance_when": {"minutes": round(stage.minutes), "reports": stage.reports},
                "gates": [{"metric": "failure_rate", "max": stage.max_failure_rate}],
            }
            for stage in self.scenario.stages
        ]
        body = {
            "name": ROLLOUT,
            "model": self.scenario.model,
            "version": self.scenario.target,
            "stages": stages,
            "policy": {"pacing": self._pacing()},
        }
        await self._post_as_admin("/v1/admin/rollouts", body)
        await self._post_as_admin(f"/v1/admin/rollouts/{ROLLOUT}/start", {"reason": "simulation"})

    def _pacing(self) -> dict[str, int]:
        """The scenario's shares of the fleet as absolute limits."""
        shares, size = self.scenario.pacing, self.scenario.model_megabytes * 1_000_000
        limits: dict[str, int] = {}
        if shares.open_downloads is not None:
            limits["max_open_downloads"] = max(1, round(shares.open_downloads * self.fleet_size))
        if shares.downloads_per_hour is not None:
            # The server rejects a budget below one full download.
            limits["max_bytes_per_hour"] = max(2, round(shares.downloads_per_hour * self.fleet_size)) * size
        return limits

    async def _post_as_admin(self, path: str, body: dict[str, Any]) -> None:
        response = await send(self.app, bearer_request(path, json.dumps(body).encode(), self.admin_token))
        if response.status >= 400:
            raise CliError(f"POST {path} failed: {response.body.decode(errors='replace')[:300]}")

    def _evaluate_monitored_rollouts(self) -> None:
        engine, now = self.app.state.process.engine, self.clock.now()
        with database.read_only(engine) as session:
            monitored = records.list_monitored(session, now=now)
        for rollout_id in monitored:
            with database.transaction(engine) as session:
                gates.evaluate(session, rollout_id, now=now)

    async def _sweep(self) -> None:
        def time_out_overdue() -> None:
            with database.transaction(self.app.state.process.engine) as session:
                attempts.time_out_overdue(session, now=self.clock.now())

        await asyncio.to_thread(time_out_overdue)

    def _observe_open_downloads(self) -> None:
        with database.read_only(self.app.state.process.engine) as session:
            rollout = records.require(session, ROLLOUT)
            self.observed_open = max(
                self.observed_open, rollout_limits.count_open_downloads(session, rollout)
            )

    def _read_result(self) -> dict[str, Any]:
        with database.read_only(self.app.state.process.engine) as session:
            rollout = records.require(session, ROLLOUT)
            history = [
                {
                    "hour": round(self.clock.seconds_since_start(event.at) / 3600, 1),
                    "kind": event.kind,
                    "reason": event.reason,
                }
                for event in store.rollouts.history(session, rollout.id)
            ]
            pacing = parse_policy(rollout.policy).pacing
            return {
                "rollout": f"{rollout.state}, stage {rollout.stage + 1} of {len(rollout.stages)}",
                "history": history,
                "limits": rollout_limits.check_limits(session, rollout, pacing, self.observed_open),
            }


@asynccontextmanager
async def in_process_server(
    scenario: Scenario, devices: Sequence[VirtualDevice]
) -> AsyncIterator[InProcessServer]:
    """Start temporary servers, populate the database, and run the application."""
    # The database is deleted at the end, so nothing has to be flushed to disk.
    with temporary_servers(fsync="off") as (directory, endpoints):
        url = create_empty_database(endpoints, "simulation")
        settings = _settings(api_settings(endpoints, url, directory), scenario)
        clock = VirtualClock()
        device_tokens = AccessTokens(SECRET.encode(), TOKEN_TTL_S)
        admin_token = await asyncio.to_thread(_populate, settings, scenario, devices, clock)
        async with running_app(settings, clock.now) as app:
            yield InProcessServer(app, scenario, clock, admin_token, device_tokens, len(devices))


def _settings(base: Settings, scenario: Scenario) -> Settings:
    lease_s = max(3600, min(DAY_S, round(4 * scenario.poll_interval_s)))
    return base.model_copy(
        update={
            "poll_interval_s": min(DAY_S, round(scenario.poll_interval_s)),
            "attempt_lease_s": lease_s,
            # No worker builds patches here, so devices must not wait for any.
            "max_patches_per_version": 0,
            "rate_limit_per_device": "off",
            "rate_limit_per_address": "off",
        }
    )


def _populate(
    settings: Settings, scenario: Scenario, devices: Sequence[VirtualDevice], clock: VirtualClock
) -> str:
    """Insert the versions, a cohort and the devices; return an admin token."""
    engine = database.engine_for(settings.database_url)
    labels = [*sorted(scenario.versions), *([scenario.target] if scenario.target else [])]
    try:
        with database.transaction(engine) as session:
            session.add(versions.ModelRow(name=scenario.model))
            session.flush()
            signers, size = dataset.Signers(), scenario.model_megabytes * 1_000_000
            for counter, label in enumerate(dict.fromkeys(labels), 1):
                dataset.add_version(session, scenario.model, label, counter, signers, size=size)
            everyone = cohorts.CohortDeclaration("everyone", {})
            cohorts.put(session, everyone, actor=ACTOR, now=clock.now())
            session.execute(_INSERT_DEVICES, {"ids": [device.id for device in devices]})
            return api_tokens.create(session, "simulate", "admin", actor=ACTOR, now=clock.now())
    finally:
        engine.dispose()
