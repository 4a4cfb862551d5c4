"""A simulated service: four API processes in one, with a real PostgreSQL and a clock that the tests move."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from sdk_contract.wire import Event, PollRequest
from service import store
from service.domain.polling.decisions import DecisionTime
from service.domain.polling.offers import evaluate_rollout
from service.errors import ServiceError
from service.infrastructure import database
from service.infrastructure.signing import LocalSigner
from service.infrastructure.tokens import DeviceClaims
from service.operations.outcomes import attempts
from service.operations.releases import models
from service.operations.rollouts import actions, drafts
from service.serving.batching.write_batcher import commit_batch
from service.serving.events.ingest import EventBatch, EventIngestor
from service.serving.events.metric_counts import MetricCounter
from service.serving.polls.context import AuthenticatedPoll, device_context, select_model
from tests.service.serving.invariants.simulated_server import LEASE, MODEL, Device, Server
from tests.service.serving.invariants.violations import INVARIANTS
from tests.service.support.actors import event_id, notifier_without_broker, rows, write

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
_EMPTY = "truncate models, blobs, devices, cohorts, events cascade"
OFFERING = {"running", "completed", "rolled_back"}


class World:
    """A service with four API processes, its release managers and its devices."""

    def __init__(self, url, servers=4):
        signer = LocalSigner(Ed25519PrivateKey.generate())
        self.servers = [Server(url, signer) for _ in range(servers)]
        self.engine = self.servers[0].engine
        self.ingest = EventIngestor(MetricCounter(self.servers[0].snapshots)).ingest
        self.notifier = notifier_without_broker()
        self.runner = asyncio.Runner()
        self.names = count()
        self.operations = 0
        self.reasons: Counter[str] = Counter()

    def reset(self, version_specs, devices=40):
        """Start over with a new model without rollouts; each spec is (size, floor, barrier)."""
        self.now = START
        write(self, _EMPTY)
        with database.transaction(self.engine) as session:
            models.create(session, MODEL, actor="test", now=START)
            session.add(store.cohorts.CohortRow(name="everyone", rule={}))
            session.add(store.cohorts.CohortRow(name="insiders", rule={"attr": "group", "eq": "in"}))
            session.flush()
            for counter, spec in enumerate(version_specs, 1):
                _add_version(session, counter, *spec)
            for number in range(devices):
                session.add(store.devices.DeviceRow(id=f"d{number}", public_key=b"", status="accepted"))
        self.devices = [
            Device(
                f"d{number}",
                {"group": "in" if number % 4 == 0 else "out", "utc_offset_min": number % 5 * 210},
                deferring=number % 3 == 0,
                failing=number % 7 == 0,
            )
            for number in range(devices)
        ]
        self.versions = {
            f"v{counter}": (counter, min(spec[1], counter), spec[2])
            for counter, spec in enumerate(version_specs, 1)
        }
        self.revoked, self.disabled, self.ended = set(), False, {}
        for server in self.servers:
            server.snapshots.refresh()

    # --- release managers ---------------------------------------------------------------------------

    def roll_out(self, label, stages, policy):
        """Create and start a rollout; return its name, or None if the service refused."""
        self.operations += 1
        name = f"r{next(self.names)}"
        declaration = drafts.RolloutDeclaration(
            name=name,
            model=MODEL,
            version=label,
            stages=[drafts.StageDeclaration(cohort, percent) for cohort, percent in stages],
            priority=random.Random(name).randrange(-1000, 1000),
            policy=policy,
        )
        try:
            with database.transaction(self.engine) as session:
                drafts.create(session, declaration, actor="author", now=self.now)
                actions.perform(
                    session, self.notifier, name, "start", actor="author", reason="r", now=self.now
                )
        except ServiceError:
            return None
        return name

    def act(self, name, verb):
        """Perform an action; return whether the service accepted it."""
        self.operations += 1
        try:
            with database.transaction(self.engine) as session:
                actions.perform(session, self.notifier, name, verb, actor="author", reason="r", now=self.now)
        except ServiceError:
            return False
        return True

    def revoke(self, label):
        with database.transaction(self.engine) as session:
            actions.revoke_version(
                session, self.notifier, MODEL, label, actor="author", reason="r", now=self.now
            )
        self.revoked.add(label)

    def set_disabled(self, *, disabled):
        with database.transaction(self.engine) as session:
            models.set_disabled(session, MODEL, disabled=disabled, actor="author", reason="r", now=self.now)
        self.disabled = disabled

    # --- devices --------------------------------------------------------------------------

    def poll(self, polls, beside=None):
        """Send all polls, pairs of server index and device, at once, with `beside` running in a thread."""
        self.operations += len(polls)
        return self.runner.run(self._poll(polls, beside))

    async def _poll(self, polls, beside):
        calls = [self.servers[index].poll(device, self.now) for index, device in polls]
        if beside is not None:
            calls.append(asyncio.to_thread(beside))
        responses = await asyncio.gather(*calls)
        self.reasons.update(response["reason"] for response in responses[: len(polls)])
        for (_, device), response in zip(polls, responses, strict=False):
            device.attempt = response.get("attempt_id")
            device.target = response.get("target_version") if response["need_update"] else None
        return responses[: len(polls)]

    def report(self, device, state):
        """Report the state of the device's attempt; after `committed`, the device runs the version."""
        self.operations += 1
        if device.failing and state == "committed":
            state = "failed"
        if state == "staged":
            device.staged = device.target
        device.seq += 1
        event = Event(event_id=event_id(), attempt_id=device.attempt, seq=device.seq, state=state)
        self.runner.run(
            commit_batch(
                self.servers[0].hot,
                self.ingest,
                [EventBatch(device.id, [event], self.now, self.now + LEASE)],
            )
        )
        if state == "committed":
            device.runs, device.attempt = device.target, None

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)

    def expire(self):
        with database.transaction(self.engine) as session:
            attempts.time_out_overdue(session, now=self.now)

    # --- checks ---------------------------------------------------------------------------

    def check_offer(self, device, response):
        """Check a response that was given while nothing else happened."""
        if not response["need_update"]:
            return
        counter, _, _ = self.versions[response["target_version"]]
        assert not self.disabled
        assert response["target_version"] not in self.revoked
        if device.runs is not None:
            at, floor, _ = self.versions[device.runs]
            assert counter >= floor, "below the floor of what it runs"
            skipped = [
                label
                for label, (between, _, barrier) in self.versions.items()
                if barrier and label not in self.revoked and at < between < counter
            ]
            assert not skipped, "past a barrier"
        if response.get("rollout"):
            (row,) = rows(
                self, "select state, policy from rollouts where name = :name", name=response["rollout"]
            )
            assert row["state"] in OFFERING
            if response["action"] == "install" and device.staged != response["target_version"]:
                assert _open(row["policy"].get("windows"), device, self.now), "outside its windows"
            device.admitted.add(response["rollout"])

    def check_sticky(self, device):
        """Check that the rollouts that admitted the device still admit it."""
        snapshot = self.servers[0].snapshots.current
        model = select_model(snapshot, MODEL)
        request = PollRequest(device_id=device.id, current_version=device.runs, attributes=device.attributes)
        context = device_context(
            snapshot, AuthenticatedPoll(request, b"", DeviceClaims(device.id, {}), self.now)
        )
        current = model.versions.get(device.runs or "")
        for rollout in model.rollouts:
            if rollout.name in device.admitted:
                reason = evaluate_rollout(
                    model, rollout, current, context, DecisionTime(self.now, self.now)
                ).reason
                assert reason not in {"not_in_cohort", "not_in_stage", "in_holdout"}, rollout.name

    def check(self):
        """Check the invariants, which hold at all times."""
        with database.read_only(self.engine) as session:
            self._check_states(session.execute(text("select name, state from rollouts")))
            for violation, query in INVARIANTS.items():
                assert not session.execute(text(query)).all(), violation

    def _check_states(self, found):
        for row in found:
            before = self.ended.get(row.name)
            if before is not None:
                assert row.state == before or (before, row.state) == ("halted", "rolled_back")
            if row.state in {"halted", "rolled_back", "cancelled"}:
                self.ended[row.name] = row.state

    def close(self):
        self.runner.run(self._close())
        self.runner.close()

    async def _close(self):
        for server in self.servers:
            await server.close()


def _open(windows, device, now):
    """Whether a window is open in the device's time; supports only the windows of these tests."""
    if windows is None:
        return True
    offset = device.attributes["utc_offset_min"] if windows["zone"] == "device" else 0
    minute = (now.hour * 60 + now.minute + offset) % 1440
    spans = [
        [int(time_[:2]) * 60 + int(time_[3:]) for time_ in (window["start"], window["end"])]
        for window in windows["daily"]
    ]
    return any((minute - start) % 1440 < (end - start) % 1440 for start, end in spans)


def _add_version(session, counter, size, floor, barrier):
    digest = f"{counter:064x}"
    session.add(store.blobs.BlobRow(sha256=digest, size=size, stored=True))
    session.flush()
    part = store.versions.ComponentRow(name="weights", path="w.bin", blob_sha256=digest)
    build = store.versions.VariantRow(name="default", selector={}, components=[part])
    session.add(
        store.versions.VersionRow(
            model=MODEL,
            label=f"v{counter}",
            counter=counter,
            floor=min(floor, counter),
            barrier=barrier,
            state="ready",
            manifest=b"{}",
            manifest_sha256=f"{counter + 2**200:064x}",
            created_by="test",
            ready_at=START,
            variants=[build],
        )
    )
    session.flush()
