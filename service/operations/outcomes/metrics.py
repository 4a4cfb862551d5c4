"""Every SQL statement that writes the metric tables: names, histograms, totals, and counted reports."""

from datetime import date, datetime

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from service.store.distribution.metrics import MetricReportSeenRow
from service.store.distribution.rollouts import RolloutRow

INSERT_NAMES = text(
    """
    insert into metric_names (model, name)
    select * from unnest(cast(:models as text[]), cast(:names as text[])) as news(model, name) order by 1, 2
    on conflict do nothing
    """
)
"""Record the metric names that devices of a model use; arrays `models` and `names`."""

INSERT_SAMPLES = text(
    """
    with sample as (
      select * from unnest(
        cast(:rollouts as uuid[]), cast(:digests as bigint[]), cast(:metrics as text[]), cast(:stages as int[]),
        cast(:device_classes as text[]), cast(:arms as text[]), cast(:days as date[]), cast(:buckets as int[])
      ) as sample(rollout_id, digest, metric, stage, device_class, arm, day, bucket)
    ), unseen as (
      insert into metric_reports_seen (rollout_id, digest) select rollout_id, digest from sample order by 1, 2
      on conflict do nothing returning rollout_id, digest
    ), counted as (
      insert into metric_histograms (rollout_id, metric, stage, device_class, arm, day, bucket, count)
      select rollout_id, metric, stage, device_class, arm, day, bucket, count(*)
      from sample join unseen using (rollout_id, digest) group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7
      on conflict (rollout_id, metric, stage, device_class, arm, day, bucket)
      do update set count = metric_histograms.count + excluded.count
    ), summed as (
      insert into metric_totals (rollout_id, metric, stage, device_class, arm, count, bucket_sum, bucket_square_sum)
      select rollout_id, metric, stage, device_class, arm, count(*), sum(bucket), sum(bucket * bucket)
      from sample join unseen using (rollout_id, digest) where metric <> :selection_probability
      group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
      on conflict (rollout_id, metric, stage, device_class, arm) do update set
        count = metric_totals.count + excluded.count,
        bucket_sum = metric_totals.bucket_sum + excluded.bucket_sum,
        bucket_square_sum = metric_totals.bucket_square_sum + excluded.bucket_square_sum
    )
    select distinct rollout_id from unseen
    """
)
"""Count the metric values that have not been counted before; returns the rollouts that got new values.

One array per column. `selection_probability` is the reserved metric name that has a histogram but no totals.
"""

_COMPACT_DAYS = text(
    """
    with old as (
      delete from metric_histograms where ctid in (
        select ctid from metric_histograms where day < :before and extract(day from day) <> 1 limit :limit
      ) returning *
    )
    insert into metric_histograms (rollout_id, metric, stage, device_class, arm, day, bucket, count)
    select rollout_id, metric, stage, device_class, arm, cast(date_trunc('month', day) as date), bucket, sum(count)
    from old group by 1, 2, 3, 4, 5, 6, 7
    on conflict (rollout_id, metric, stage, device_class, arm, day, bucket) do update set
      count = metric_histograms.count + excluded.count
    """
)


def compact_days(session: Session, *, before: date, limit: int) -> None:
    """Merge up to `limit` histogram rows per day, older than `before`, into rows per month."""
    session.execute(_COMPACT_DAYS, {"before": before, "limit": limit})


def delete_seen_reports(session: Session, *, ended_before: datetime) -> None:
    """Delete the records of counted reports of rollouts that ended before a time and count nothing anymore."""
    ended = select(RolloutRow.id).where(RolloutRow.ended_at < ended_before)
    session.execute(delete(MetricReportSeenRow).where(MetricReportSeenRow.rollout_id.in_(ended)))
