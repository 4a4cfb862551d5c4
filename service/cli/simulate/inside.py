"""A virtual fleet inside this process: the real application over a real database, no sockets, and time that is set."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from service import database, store
from service.cli.bench import world
from service.cli.bench.asgi import send
from service.cli.bench.fleet import bearer_call
from service.cli.bench.stage import SECRET, empty_database, running, servers, settings_for
from service.cli.http import CliError
from service.cli.simulate import bounds
from service.cli.simulate.devices import Virtual
from service.cli.simulate.scenario import Scenario
from service.cli.simulate.stepping import Look, SetTime
from service.config import Settings
from service.domain.policy import parse_policy
from service.operations import access, attempts, cohorts, rollout_gates, rollouts
from service.store import versions
from service.tokens import AccessTokens

GATES_EVERY_S = 300.0
SWEEP_EVERY_S = 900.0
ROLLOUT = "simulated"
TOKEN_S = 3600
_INSERT = text(
    """insert into devices (id, status, attributes)
       select id, 'accepted', '{}'::jsonb from unnest(cast(:ids as text[])) as one(id)"""
)


@dataclass(slots=True)
class Inside:
    """The application, its database, and what a release manager and the workers would do."""

    app: Any
    settings: Settings
    scenario: Scenario
    time: SetTime
    admin: str
    tokens: AccessTokens
    fleet: int
    started: bool = False
    most_open: int = 0

    async def post(self, device: Virtual, path: str, body: bytes) -> tuple[int, bytes]:
        """One request of a device."""
        token = self.tokens.issue(device.id, {}, self.time.moment())
        reply = await send(self.app, bearer_call(path, body, token))
        return reply.status, reply.body

    def looks(self) -> list[Look]:
        """What happens again and again."""
        return [(GATES_EVERY_S, self._gates), (SWEEP_EVERY_S, self._sweep)]

    async def findings(self) -> dict[str, Any]:
        """What became of the rollout: its state, how it came to that, and whether it kept within its bounds."""
        return await asyncio.to_thread(self._read) if self.started else {}

    async def _gates(self) -> None:
        if not self.started and self.scenario.target and self.time.now_s >= self.scenario.rollout_hour * 3600:
            await self._start()
        await asyncio.to_thread(self._evaluate)
        if self.started and self.scenario.pacing.open_downloads is not None:
            await asyncio.to_thread(self._count_open)
        await asyncio.to_thread(self.app.state.process.snapshots.refresh)

    async def _start(self) -> None:
        self.started = True
        stages = [
            {
                "cohort": "everyone",
                "percent": stage.percent,
                "hold": {"minutes": round(stage.minutes), "reports": stage.reports},
                "gates": [{"metric": "failure_rate", "max": stage.max_failures}],
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
        await self._ask("/v1/admin/rollouts", body)
        await self._ask(f"/v1/admin/rollouts/{ROLLOUT}/start", {"reason": "simulation"})

    def _pacing(self) -> dict[str, int]:
        """The scenario's shares of the fleet as what a rollout is told."""
        pacing, size = self.scenario.pacing, self.scenario.megabytes * 1_000_000
        told: dict[str, int] = {}
        if pacing.open_downloads is not None:
            told["open_downloads"] = max(1, round(pacing.open_downloads * self.fleet))
        if pacing.an_hour is not None:
            # Less than one whole device is no pace: the server would refuse it.
            told["bytes_per_hour"] = max(2, round(pacing.an_hour * self.fleet)) * size
        return told

    async def _ask(self, path: str, body: dict[str, Any]) -> None:
        reply = await send(self.app, bearer_call(path, json.dumps(body).encode(), self.admin))
        if reply.status >= 400:
            raise CliError(f"{path}: {reply.body.decode(errors='replace')[:300]}")

    def _evaluate(self) -> None:
        engine, now = self.app.state.process.engine, self.time.moment()
        with database.read_only(engine) as session:
            watched = rollouts.list_watched(session, now=now)
        for rollout_id in watched:
            with database.transaction(engine) as session:
                rollout_gates.evaluate(session, rollout_id, now=now)

    async def _sweep(self) -> None:
        def expire() -> None:
            with database.transaction(self.app.state.process.engine) as session:
                attempts.expire(session, now=self.time.moment())

        await asyncio.to_thread(expire)

    def _count_open(self) -> None:
        with database.read_only(self.app.state.process.engine) as session:
            row = rollouts.require(session, ROLLOUT)
            self.most_open = max(self.most_open, bounds.open_downloads(session, row))

    def _read(self) -> dict[str, Any]:
        with database.read_only(self.app.state.process.engine) as session:
            row = rollouts.require(session, ROLLOUT)
            told = [
                {
                    "hour": round(self.time.seconds_at(event.at) / 3600, 1),
                    "what": event.kind,
                    "why": event.reason,
                }
                for event in store.rollouts.history(session, row.id)
            ]
            pacing = parse_policy(row.policy).pacing
            return {
                "rollout": f"{row.state}, stage {row.stage + 1} of {len(row.stages)}",
                "story": told,
                "bounds": bounds.kept(session, row, pacing, self.most_open),
            }


@asynccontextmanager
async def inside(scenario: Scenario, devices: Sequence[Virtual]) -> AsyncIterator[Inside]:
    """Servers of this simulation's own, a filled database, and the application over it."""
    # What a simulation writes is gone with it: nothing waits for a disk.
    with servers(fsync="off") as (directory, endpoints):
        settings = _settings(
            settings_for(endpoints, empty_database(endpoints, "simulation"), directory), scenario
        )
        time = SetTime()
        tokens = AccessTokens(SECRET.encode(), TOKEN_S)
        admin = await asyncio.to_thread(_fill, settings, scenario, devices, time)
        async with running(settings, time.moment) as app:
            yield Inside(app, settings, scenario, time, admin, tokens, len(devices))


def _settings(base: Settings, scenario: Scenario) -> Settings:
    lease_s = max(3600, min(86_400, round(4 * scenario.poll_s)))
    return base.model_copy(
        update={
            "poll_interval_s": min(86_400, round(scenario.poll_s)),
            "attempt_lease_s": lease_s,
            # Nobody makes patches here, so nobody waits for one.
            "patch_limit": 0,
            "rate_per_device": "off",
            "rate_per_address": "off",
        }
    )


def _fill(settings: Settings, scenario: Scenario, devices: Sequence[Virtual], time: SetTime) -> str:
    engine = database.engine_for(settings.database_url)
    labels = [*sorted(scenario.versions), *([scenario.target] if scenario.target else [])]
    try:
        with database.transaction(engine) as session:
            session.add(versions.ModelRow(name=scenario.model))
            session.flush()
            signers, size = world.Signers(), scenario.megabytes * 1_000_000
            for counter, label in enumerate(dict.fromkeys(labels), 1):
                world.version_row(session, scenario.model, label, counter, signers, size=size)
            cohorts.put(
                session, cohorts.CohortDeclaration("everyone", {}), actor="simulate", now=time.moment()
            )
            session.execute(_INSERT, {"ids": [device.id for device in devices]})
            return access.create_api_token(session, "simulate", "admin", actor="simulate", now=time.moment())
    finally:
        engine.dispose()
