"""A small service with several API processes in one: real PostgreSQL, real poll desks, a clock that tests move."""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from sdk_contract.wire import Event, PollRequest
from service import database, store
from service.domain.decisions import When
from service.domain.offers import ask
from service.embedded import BUCKET
from service.errors import ServiceError
from service.operations import attempts, models, rollout_verbs, rollouts
from service.serving.answer import Pace, PollDesk, Question, choose_line, facts_of
from service.serving.checkins import Checkins
from service.serving.compose import Composer
from service.serving.grants import grant
from service.serving.group_commit import GroupCommit, commit
from service.serving.intake import Intake, Report
from service.serving.measurements import Measurements
from service.serving.snapshot import SnapshotKeeper
from service.serving.urls import DownloadUrls
from service.signing import KeySigner
from service.tokens import DeviceClaims
from tests.service.actors import deaf_bell, event_id

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODEL = "m"
LEASE = timedelta(hours=6)
_EMPTY = "truncate models, blobs, devices, cohorts, events cascade"
OFFERING = {"running", "completed", "rolled_back"}


PROMISES = {
    "a rollout has stopped, and something of it is still on offer": """
      select r.name from rollouts r join attempts a on a.rollout_id = r.id
      where a.closed_at is null and a.action = 'install' and r.state in ('halted', 'rolled_back', 'cancelled')
    """,
    "more downloads are open than the pace allows": """
      select r.name from rollouts r
      where (r.policy->'pacing'->>'open_downloads')::bigint < (
        select count(*) from attempts a
        where a.rollout_id = r.id and a.closed_at is null and a.action = 'install' and not a.downloaded
      )
    """,
    "some hour has had more bytes than the pace allows": """
      select spent.name from (
        select r.name, (r.policy->'pacing'->>'bytes_per_hour')::bigint as budget,
               sum(a.bytes_offered) over (partition by r.id order by a.offered_at
                 range between interval '3599.999999 seconds' preceding and current row) as bytes
        from rollouts r join attempts a on a.rollout_id = r.id and a.action = 'install'
      ) spent where spent.bytes > spent.budget
    """,
    "a rollout of another version, or of another model, was granted": """
      select a.id from attempts a join rollouts r on r.id = a.rollout_id
      where a.action = 'install' and a.version_id <> r.version_id or a.model <> r.model
    """,
    "an attempt was counted twice, or not at all": """
      select r.name from rollouts r
      left join lateral (
        select coalesce(sum(offered), 0) as offered,
               coalesce(sum(committed + failed + rolled_back + timed_out + withdrawn), 0) as ended
        from rollups where rollout_id = r.id
      ) told on true
      where told.offered <> (select count(*) from attempts where rollout_id = r.id)
         or told.ended <> (select count(closed_at) from attempts where rollout_id = r.id)
    """,
    "the running totals are not the sums of the counts": """
      select rollout_id, stage, stratum, arm, sum(offered), sum(committed), sum(failed), sum(rolled_back),
             sum(timed_out), sum(withdrawn), sum(early), sum(early_bad), sum(bytes_sent)
      from rollups group by 1, 2, 3, 4
      except
      select rollout_id, stage, stratum, arm, offered, committed, failed, rolled_back, timed_out, withdrawn, early,
             early_bad, bytes_sent
      from outcome_totals
    """,
    "not as many wait for the word to switch as have staged": """
      select t.rollout_id from outcome_totals t join rollouts r on r.id = t.rollout_id
      where r.policy->>'activation' = 'together' and r.activated_at is null and t.waiting <> (
        select count(*) from attempts a where a.rollout_id = t.rollout_id and a.stage = t.stage
          and a.stratum = t.stratum and a.arm = t.arm and a.closed_at is null and a.state = 'staged')
    """,
    "a device that had failed a version three times was given it again": """
      select device_id from attempts where state in ('failed', 'rolled_back', 'rejected')
      group by device_id, version_id, action, circumstances having count(*) > 3
    """,
}
"""What would be wrong -> the query that would find it."""


class NoBlobs:
    """An object store that nobody downloads from."""

    def download_url(self, key, *, expires_s):
        return f"https://{BUCKET}.invalid/{key}?{expires_s}"


class Server:
    """One API process: a snapshot as old as its last refresh, a pool, a queue of grants, a desk."""

    def __init__(self, url, signer):
        self.engine = database.engine_for(url)
        self.hot = database.async_engine_for(url)
        self.snapshots = SnapshotKeeper(self.engine, 60)
        self.grants = GroupCommit(self.hot, grant)
        self.desk = PollDesk(
            snapshots=self.snapshots,
            grants=self.grants,
            checkins=Checkins(self.hot),
            composer=Composer(DownloadUrls(NoBlobs(), 900), signer),
            pace=Pace(poll_s=3600, patch_wait=timedelta(0), lease=LEASE),
        )
        self.loop = None

    async def poll(self, device, now):
        if self.loop is None:
            self.loop = asyncio.create_task(self.grants.run())
        body = {"device_id": device.id, "model": MODEL, "attributes": device.attributes}
        if device.runs:
            body["current_version"] = device.runs
        if device.patient:
            body |= {"features": ["hold"]} | ({"staged_version": device.staged} if device.staged else {})
        raw = json.dumps(body).encode()
        claims = DeviceClaims(device.id, {})
        answer = await self.desk.answer(Question(PollRequest.model_validate_json(raw), raw, claims, now))
        return json.loads(answer)

    async def close(self):
        if self.loop is not None:
            self.loop.cancel()
            with suppress(asyncio.CancelledError):
                await self.loop
        await self.hot.dispose()
        self.engine.dispose()


@dataclass
class Device:
    """A device, and what it was given.

    Attributes:
        patient: its client can stage a version and wait for the word to switch.
        weak: whatever it is given, it fails.
    """

    id: str
    attributes: dict[str, Any]
    patient: bool = False
    weak: bool = False
    runs: str | None = None
    attempt: str | None = None
    target: str | None = None
    staged: str | None = None
    seq: int = 0
    admitted: set[str] = field(default_factory=set)


class World:
    """Everything between the verbs of a release manager and the polls of devices."""

    def __init__(self, url, servers=4):
        signer = KeySigner(Ed25519PrivateKey.generate())
        self.servers = [Server(url, signer) for _ in range(servers)]
        self.engine = self.servers[0].engine
        self.take_in = Intake(Measurements(self.servers[0].snapshots)).take_in
        self.bell = deaf_bell()
        self.runner = asyncio.Runner()
        self.names = count()
        self.operations = 0
        self.told = Counter()

    def reset(self, version_specs, devices=40):
        """Another model, with nothing rolled out yet; each spec is (size, floor, watershed)."""
        self.now = START
        self.write(_EMPTY)
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
                patient=number % 3 == 0,
                weak=number % 7 == 0,
            )
            for number in range(devices)
        ]
        self.versions = {
            f"v{counter}": (counter, min(spec[1], counter), spec[2])
            for counter, spec in enumerate(version_specs, 1)
        }
        self.revoked, self.killed, self.ended = set(), False, {}
        for server in self.servers:
            server.snapshots.refresh()

    # --- what people do ---------------------------------------------------------------------------

    def roll_out(self, label, stages, policy):
        """Declare and start; the name, or None where the service refused."""
        self.operations += 1
        name = f"r{next(self.names)}"
        declaration = rollouts.RolloutDeclaration(
            name=name,
            model=MODEL,
            version=label,
            stages=[rollouts.StageDeclaration(cohort, percent) for cohort, percent in stages],
            priority=random.Random(name).randrange(-1000, 1000),
            policy=policy,
        )
        try:
            with database.transaction(self.engine) as session:
                rollouts.create(session, declaration, actor="author", now=self.now)
                rollout_verbs.act(session, self.bell, name, "start", actor="author", reason="r", now=self.now)
        except ServiceError:
            return None
        return name

    def act(self, name, verb):
        """Whether the verb applied."""
        self.operations += 1
        try:
            with database.transaction(self.engine) as session:
                rollout_verbs.act(session, self.bell, name, verb, actor="author", reason="r", now=self.now)
        except ServiceError:
            return False
        return True

    def revoke(self, label):
        with database.transaction(self.engine) as session:
            rollout_verbs.revoke(session, self.bell, MODEL, label, actor="author", reason="r", now=self.now)
        self.revoked.add(label)

    def kill(self, *, killed):
        with database.transaction(self.engine) as session:
            models.set_killed(session, MODEL, killed=killed, actor="author", reason="r", now=self.now)
        self.killed = killed

    # --- what devices do --------------------------------------------------------------------------

    def poll(self, polls, beside=None):
        """(server, device) all at the same time, with `beside` running in a thread; the answers in order."""
        self.operations += len(polls)
        return self.runner.run(self._poll(polls, beside))

    async def _poll(self, polls, beside):
        asked = [self.servers[index].poll(device, self.now) for index, device in polls]
        if beside is not None:
            asked.append(asyncio.to_thread(beside))
        answers = await asyncio.gather(*asked)
        self.told.update(answer["reason"] for answer in answers[: len(polls)])
        for (_, device), answer in zip(polls, answers, strict=False):
            device.attempt = answer.get("attempt_id")
            device.target = answer.get("target_version") if answer["need_update"] else None
        return answers[: len(polls)]

    def report(self, device, state):
        """The device says how its attempt goes; `committed` and it runs the version."""
        self.operations += 1
        if device.weak and state == "committed":
            state = "failed"
        if state == "staged":
            device.staged = device.target
        device.seq += 1
        event = Event(event_id=event_id(), attempt_id=device.attempt, seq=device.seq, state=state)
        self.runner.run(
            commit(
                self.servers[0].hot, self.take_in, [Report(device.id, [event], self.now, self.now + LEASE)]
            )
        )
        if state == "committed":
            device.runs, device.attempt = device.target, None

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)

    def expire(self):
        with database.transaction(self.engine) as session:
            attempts.expire(session, now=self.now)

    # --- what must hold ---------------------------------------------------------------------------

    def rows(self, query, **values):
        with database.read_only(self.engine) as session:
            return [row._mapping for row in session.execute(text(query), values)]

    def write(self, query, **values):
        with database.transaction(self.engine) as session:
            session.execute(text(query), values)

    def check_offer(self, device, answer):
        """One answer that was given with nothing else going on."""
        if not answer["need_update"]:
            return
        counter, _, _ = self.versions[answer["target_version"]]
        assert not self.killed
        assert answer["target_version"] not in self.revoked
        if device.runs is not None:
            at, floor, _ = self.versions[device.runs]
            assert counter >= floor, "below the floor of what it runs"
            skipped = [
                label
                for label, (between, _, watershed) in self.versions.items()
                if watershed and label not in self.revoked and at < between < counter
            ]
            assert not skipped, "past a watershed"
        if answer.get("rollout"):
            (row,) = self.rows(
                "select state, policy from rollouts where name = :name", name=answer["rollout"]
            )
            assert row["state"] in OFFERING
            if answer["action"] == "install" and device.staged != answer["target_version"]:
                assert _open(row["policy"].get("windows"), device, self.now), "outside its windows"
            device.admitted.add(answer["rollout"])

    def check_sticky(self, device):
        """Whom a rollout has admitted, it goes on admitting, however far it has widened."""
        snapshot = self.servers[0].snapshots.current
        line = choose_line(snapshot, MODEL)
        request = PollRequest(device_id=device.id, current_version=device.runs, attributes=device.attributes)
        facts = facts_of(snapshot, Question(request, b"", DeviceClaims(device.id, {}), self.now))
        current = line.versions.get(device.runs or "")
        for rollout in line.rollouts:
            if rollout.name in device.admitted:
                said = ask(line, rollout, current, facts, When(self.now, self.now)).reason
                assert said not in {"not_in_cohort", "not_in_stage", "held_back"}, rollout.name

    def check(self):
        """What holds at every moment, whoever raced with whom."""
        with database.read_only(self.engine) as session:
            self._check_states(session.execute(text("select name, state from rollouts")))
            for broken, query in PROMISES.items():
                assert not session.execute(text(query)).all(), broken

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
    """Whether a window is open, by minutes of the device's day; windows are those that the stories have."""
    if windows is None:
        return True
    offset = device.attributes["utc_offset_min"] if windows["zone"] == "device" else 0
    minute = (now.hour * 60 + now.minute + offset) % 1440
    spans = [
        [int(text_[:2]) * 60 + int(text_[3:]) for text_ in (window["start"], window["end"])]
        for window in windows["daily"]
    ]
    return any((minute - start) % 1440 < (end - start) % 1440 for start, end in spans)


def _add_version(session, counter, size, floor, watershed):
    digest = f"{counter:064x}"
    session.add(store.versions.BlobRow(sha256=digest, size=size, stored=True))
    session.flush()
    part = store.versions.ComponentRow(name="weights", path="w.bin", blob_sha256=digest)
    build = store.versions.VariantRow(name="default", selector={}, components=[part])
    session.add(
        store.versions.VersionRow(
            model=MODEL,
            label=f"v{counter}",
            counter=counter,
            floor=min(floor, counter),
            watershed=watershed,
            state="ready",
            manifest=b"{}",
            manifest_sha256=f"{counter + 2**200:064x}",
            created_by="test",
            ready_at=START,
            variants=[build],
        )
    )
    session.flush()
