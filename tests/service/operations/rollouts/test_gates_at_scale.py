"""Gates of a rollout to a large fleet: 20,000 devices by default, `GRAYLAG_FLEET=1000000` for the published figure.

Milliseconds are printed, not asserted; see them with `pytest -s`.
"""

import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from service.infrastructure import database
from service.operations.fleet import cohorts
from service.operations.rollouts import drafts, gates
from service.operations.rollouts.drafts import RolloutDeclaration, StageDeclaration

FLEET = int(os.environ.get("GRAYLAG_FLEET", "20000"))
NOW = datetime.now(UTC).replace(second=30)
DEVICE_CLASSES = 41
DAYS = 20
LOOKS = 30
METRICS = ("load_ms", "first_token_ms", "peak_memory_mb", "tokens_per_s")
GATES = [
    {"metric": "failure_rate", "max": 0.05},
    {"metric": "crash_rate", "max": 0.02},
    {"metric": "timeout_rate", "max": 0.05},
    {"metric": "peak_memory_mb", "max": 6000},
    {"metric": "load_ms", "against": "control", "max_increase": 0.1},
    {"metric": "first_token_ms", "against": "control", "max_increase": 0.1},
    {"metric": "tokens_per_s", "against": "control", "max_decrease": 0.1},
]
AUTUMN = RolloutDeclaration(
    name="autumn",
    model="phone",
    version="v1",
    stages=[StageDeclaration("everyone", percent, {"approval": True}, GATES) for percent in (1, 10, 90)],
    policy={"holdout_percent": 5},
)
VERSION = """
insert into models (name) values ('phone');
insert into versions (model, label, counter, state, created_by, manifest, manifest_sha256, ready_at)
  values ('phone', 'v1', 1, 'ready', 'x', '\\x00', 'v1', now())
"""
DEVICES = """
insert into devices (id, status, attributes)
select 'd' || n, 'accepted', '{}' from generate_series(1::bigint, :fleet) n
"""
ATTEMPTS = """
insert into attempts (id, device_id, model, rollout_id, version_id, stage, device_class, action, state, offered_at,
                      lease_until, closed_at)
select gen_random_uuid(), 'd' || n, 'phone', r.id, r.version_id,
  case when n % 100 = 0 then 0 when n % 100 < 10 then 1 else 2 end, 'soc-' || n % :device_classes, 'install',
  case when n % 97 = 0 then 'failed' when n % 89 = 0 then 'timed_out' else 'committed' end,
  at - interval '20 minutes', at, at
from rollouts r, generate_series(1::bigint, :fleet) n,
  lateral (select cast(:now as timestamptz) - make_interval(secs => :days * 86400.0 * (n * 7919 % :fleet) / :fleet)) _(at)
"""
EVENTS = """
insert into events (day, event_id, device_id, attempt_id, state, body)
select '1970-01-01', gen_random_uuid(), device_id, id::text, state, '{}' from attempts
"""
# As after compaction: minutes of the last hours, hours of the last days, days before that.
ROLLUPS = """
insert into outcome_rollups (rollout_id, stage, device_class, arm, minute, offered, committed, failed, timed_out)
select rollout_id, stage, device_class, arm, date_trunc(
    case when closed_at > cast(:now as timestamptz) - interval '3 hours' then 'minute'
         when closed_at > cast(:now as timestamptz) - interval '3 days' then 'hour' else 'day' end, closed_at, 'UTC'),
  count(*), count(*) filter (where state = 'committed'), count(*) filter (where state = 'failed'),
  count(*) filter (where state = 'timed_out')
from attempts group by 1, 2, 3, 4, 5
"""
VALUES = """
insert into metric_totals (rollout_id, metric, stage, device_class, arm, count, bucket_sum, bucket_square_sum)
select r.id, metric, step, 'soc-' || s, arm, count, count * 160, count * 25700
from rollouts r, unnest(cast(:metrics as text[])) metric, generate_series(0, 2) step,
  generate_series(0, :device_classes - 1) s, unnest(array['treatment', 'control']) arm,
  lateral (select greatest(30, :fleet / (:device_classes * 3 * 4))) _(count)
"""


@pytest.fixture
def large_rollout(engine):
    """A rollout in its last stage: all devices have reported for twenty days, with metrics in both arms."""
    with database.transaction(engine) as session:
        # Inserting a million rows may take longer than the timeout of a request.
        session.execute(text("set local statement_timeout = 0"))
        for statement in (*VERSION.split(";\n"), DEVICES):
            session.execute(text(statement), {"fleet": FLEET} if ":fleet" in statement else {})
        cohorts.put(session, cohorts.CohortDeclaration("everyone", {}, None), actor="x", now=NOW)
        row = drafts.create(session, AUTUMN, actor="x", now=NOW)
        row.state, row.stage, row.stage_since = "running", 2, NOW - timedelta(days=DAYS)
        session.flush()
        values = {
            "fleet": FLEET,
            "device_classes": DEVICE_CLASSES,
            "days": DAYS,
            "now": NOW,
            "metrics": list(METRICS),
        }
        for statement in (ATTEMPTS, EVENTS, ROLLUPS, VALUES):
            session.execute(
                text(statement), {key: value for key, value in values.items() if f":{key}" in statement}
            )
        key = row.id
    update_statistics(engine)
    return key


def update_statistics(engine):
    """Update the statistics like autovacuum."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set statement_timeout = 0"))
        connection.execute(text("vacuum analyze"))


def look(engine, key):
    """Evaluate the gates once; return milliseconds and the evaluation."""
    began = time.perf_counter()
    with database.transaction(engine) as session:
        evaluation = gates.evaluate(session, key, now=NOW)
    return (time.perf_counter() - began) * 1000, evaluation


def spent(pid):
    """Processor seconds of this process and of a server process; 0 if they cannot be read."""
    told = Path(f"/proc/{pid}/stat")
    fields = told.read_text().rpartition(")")[2].split() if told.exists() else ["0"] * 13
    return time.process_time(), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(engine, key, what):
    """Evaluate many times, print wall and processor time, and return the last evaluation."""
    with engine.connect() as connection:
        pid = connection.scalar(text("select pg_backend_pid()"))
        minutes = connection.scalar(text("select count(*) from outcome_rollups"))
    looks, before = [look(engine, key)], spent(pid)
    looks += [look(engine, key) for _ in range(LOOKS)]
    python, postgres = ((now - then) / LOOKS * 1000 for now, then in zip(spent(pid), before, strict=True))
    best, median = min(looks)[0], statistics.median(wall for wall, _ in looks)
    sys.stdout.write(
        f"\ngates over {FLEET} {what}, {minutes} rollups: best {best:.0f} ms, median {median:.0f} ms; "
        f"processor {python:.0f} ms in Python, {postgres:.0f} ms in PostgreSQL; load {os.getloadavg()[0]:.1f}\n"
    )
    return looks[-1][1]


@pytest.mark.timeout(900)
def test_the_gates_of_a_large_rollout_are_evaluated_quickly(engine, large_rollout):
    evaluation = measure(engine, large_rollout, "devices that have reported")
    assert (evaluation.decision, evaluation.cause) == ("wait", "approval"), evaluation.reason
    with engine.connect() as connection:
        kept = connection.execute(
            text("select count(*), sum(committed + failed + timed_out) from outcome_totals")
        ).one()
    assert tuple(kept) == (3 * DEVICE_CLASSES, FLEET), "the number of rows must not grow with events or time"


@pytest.mark.timeout(900)
def test_the_gates_of_a_large_staged_fleet_are_evaluated_quickly(engine, large_rollout):
    with database.transaction(engine) as session:
        session.execute(text("set local statement_timeout = 0"))
        session.execute(text('update rollouts set policy = policy || \'{"activation": "deferred"}\''))
        session.execute(text("update attempts set state = 'staged', closed_at = null, downloaded = true"))
    update_statistics(engine)
    measure(engine, large_rollout, "devices that have staged")
    with engine.connect() as connection:
        assert connection.scalar(text("select sum(staged) from outcome_totals")) == FLEET
