"""The invariants of rollouts, as queries that find violations."""

INVARIANTS = {
    "a stopped rollout has open offers": """
      select r.name from rollouts r join attempts a on a.rollout_id = r.id
      where a.closed_at is null and a.action = 'install' and r.state in ('halted', 'rolled_back', 'cancelled')
    """,
    "more downloads are open than pacing allows": """
      select r.name from rollouts r
      where (r.policy->'pacing'->>'max_open_downloads')::bigint < (
        select count(*) from attempts a
        where a.rollout_id = r.id and a.closed_at is null and a.action = 'install' and not a.downloaded
      )
    """,
    "more bytes were offered in an hour than pacing allows": """
      select spent.name from (
        select r.name, (r.policy->'pacing'->>'max_bytes_per_hour')::bigint as budget,
               sum(a.bytes_offered) over (partition by r.id order by a.offered_at
                 range between interval '3599.999999 seconds' preceding and current row) as bytes
        from rollouts r join attempts a on a.rollout_id = r.id and a.action = 'install'
      ) spent where spent.bytes > spent.budget
    """,
    "an attempt has another version or model than its rollout": """
      select a.id from attempts a join rollouts r on r.id = a.rollout_id
      where a.action = 'install' and a.version_id <> r.version_id or a.model <> r.model
    """,
    "an attempt was counted twice or not at all": """
      select r.name from rollouts r
      left join lateral (
        select coalesce(sum(offered), 0) as offered,
               coalesce(sum(committed + failed + rolled_back + timed_out + withdrawn), 0) as ended
        from outcome_rollups where rollout_id = r.id
      ) counted on true
      where counted.offered <> (select count(*) from attempts where rollout_id = r.id)
         or counted.ended <> (select count(closed_at) from attempts where rollout_id = r.id)
    """,
    "the totals differ from the sums of the rollups": """
      select rollout_id, stage, device_class, arm, sum(offered), sum(committed), sum(failed), sum(rolled_back),
             sum(timed_out), sum(withdrawn), sum(early_reports), sum(early_failures), sum(bytes_sent)
      from outcome_rollups group by 1, 2, 3, 4
      except
      select rollout_id, stage, device_class, arm, offered, committed, failed, rolled_back, timed_out, withdrawn, early_reports,
             early_failures, bytes_sent
      from outcome_totals
    """,
    "the count of staged devices is wrong": """
      select t.rollout_id from outcome_totals t join rollouts r on r.id = t.rollout_id
      where r.policy->>'activation' = 'deferred' and r.activated_at is null and t.staged <> (
        select count(*) from attempts a where a.rollout_id = t.rollout_id and a.stage = t.stage
          and a.device_class = t.device_class and a.arm = t.arm and a.closed_at is null and a.state = 'staged')
    """,
    "a device got a version again after three failures": """
      select device_id from attempts where state in ('failed', 'rolled_back', 'rejected')
      group by device_id, version_id, action, failure_fingerprint having count(*) > 3
    """,
}
"""Violation -> query that returns rows if it occurred."""
