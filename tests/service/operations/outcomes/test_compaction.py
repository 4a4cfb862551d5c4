from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from service import store
from service.infrastructure import database
from service.operations.outcomes import compaction
from tests.service.support import actors
from tests.service.support.actors import cohort, create_rollout, ok, publish, rollout, set_up_once

NOW = datetime(2026, 11, 20, 12, 34, tzinfo=UTC)
TEN_DAYS = """
insert into outcome_rollups (rollout_id, stage, device_class, arm, minute, offered, committed, failed, early_reports, bytes_sent)
select r.id, 0, s, 'treatment', minute, 3, 2, 1, 1, 5
from rollouts r, generate_series(cast(:now as timestamptz) - interval '10 days', :now, interval '1 minute') minute,
     unnest(array['', 'soc=a']) s
"""
DAYS = """
insert into metric_histograms (rollout_id, metric, stage, device_class, arm, day, bucket, count)
select r.id, 'load_ms', 0, '', 'treatment', day, 7, 2
from rollouts r, generate_series(cast('2026-09-10' as date), cast('2026-11-20' as date), interval '1 day') day
"""


@pytest.fixture
@set_up_once
def old(live):
    """A rollout with counts per minute for ten days."""
    publish(live, "v1", b"compaction weights")
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    actors.write(live, TEN_DAYS, now=NOW.replace(second=0))
    actors.write(live, DAYS)


def compact(live):
    for _ in range(3):
        with database.transaction(live.engine) as session:
            compaction.compact(session, now=NOW)


def test_compaction_merges_old_counts_and_loses_none(old):
    before = rollout(old, "r")["stages"][0]["outcomes"]
    compact(old)
    assert rollout(old, "r")["stages"][0]["outcomes"] == before
    query = "select min(minute) as first, max(minute) as last, count(*) as rows, sum(early_reports) as early_reports from outcome_rollups"
    (found,) = actors.rows(old, query)
    assert (found["last"], found["early_reports"]) == (NOW, 2 * 14_401)
    assert found["first"] == datetime(2026, 11, 10, tzinfo=UTC)
    # Three hours of minutes, three days of hours, and days before that.
    assert found["rows"] <= 2 * (3 * 60 + 3 * 24 + 10)


TOTALS = """
select stage, device_class, arm, sum(offered) as offered, sum(committed) as committed, sum(failed) as failed,
       sum(early_reports) as early_reports, sum(bytes_sent) as bytes_sent
from {table} group by 1, 2, 3 order by 1, 2, 3
"""


def totals_match(live):
    counts, totals = (
        actors.rows(live, TOTALS.format(table=table)) for table in ("outcome_rollups", "outcome_totals")
    )
    return counts == totals


def test_totals_equal_the_sums_of_the_rollups(old):
    assert totals_match(old)
    actors.write(
        old, "update outcome_rollups set failed = failed + 3, early_reports = 0 where device_class = ''"
    )
    assert totals_match(old)
    actors.write(
        old,
        "insert into outcome_rollups (rollout_id, stage, device_class, arm, minute, offered) "
        "select rollout_id, stage, device_class, arm, minute, 7 from outcome_rollups where device_class = '' limit 9 "
        "on conflict (rollout_id, stage, device_class, arm, minute) do update set offered = outcome_rollups.offered + excluded.offered",
    )
    assert totals_match(old)


def test_compaction_does_not_change_totals(old):
    before = actors.rows(old, "select * from outcome_totals order by device_class")
    compact(old)
    assert actors.rows(old, "select * from outcome_totals order by device_class") == before
    assert totals_match(old)
    actors.write(old, "update outcome_rollups set failed = failed + 1")
    assert totals_match(old), "later changes are counted"


def test_compaction_leaves_recent_minutes_alone(old):
    compact(old)
    query = "select count(*) as minutes from outcome_rollups where device_class = '' and minute > :since"
    (found,) = actors.rows(old, query, since=NOW - compaction.KEEP_MINUTES)
    assert found["minutes"] == compaction.KEEP_MINUTES / timedelta(minutes=1)


def test_compacting_again_changes_nothing(old):
    compact(old)
    before = actors.rows(old, "select * from outcome_rollups order by device_class, minute")
    compact(old)
    assert actors.rows(old, "select * from outcome_rollups order by device_class, minute") == before


def test_old_metric_days_become_months(old):
    compact(old)
    found = [
        (str(row["day"]), row["count"])
        for row in actors.rows(old, "select * from metric_histograms order by day")
    ]
    assert found == [
        ("2026-09-01", 42),
        ("2026-10-01", 62),
        ("2026-11-01", 32),
        ("2026-11-17", 2),
        ("2026-11-18", 2),
        ("2026-11-19", 2),
        ("2026-11-20", 2),
    ]


def test_records_of_counted_reports_are_kept_for_a_month_after_the_rollout(old):
    actors.write(old, "insert into metric_reports_seen (rollout_id, digest) select id, 1 from rollouts")
    actors.write(old, "update rollouts set ended_at = :at", at=NOW - timedelta(days=29))
    compact(old)
    assert len(actors.rows(old, "select 1 from metric_reports_seen")) == 1
    actors.write(old, "update rollouts set ended_at = :at", at=NOW - timedelta(days=31))
    compact(old)
    assert actors.rows(old, "select 1 from metric_reports_seen") == []


def test_the_compaction_queries_use_the_partial_indexes(old):
    with old.engine.connect() as connection:
        connection.execute(text("set enable_seqscan = off"))
        for condition, index in (
            (store.outcomes.FINER_THAN_HOUR, "ix_outcome_rollups_minutes"),
            (store.outcomes.FINER_THAN_DAY, "ix_outcome_rollups_hours"),
        ):
            plan = connection.execute(
                text(f"explain select ctid from outcome_rollups where minute < now() and {condition}")
            )
            assert index in "\n".join(plan.scalars())
