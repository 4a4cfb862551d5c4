-- Triggers that maintain `outcome_totals`.
--
-- Gates read sums over all minutes. Triggers keep them in the transaction of the counts, so that no writer can forget to.
-- Compaction merges rollups without counting anything, and sets `graylag.compacting` so that its rows are ignored.

create function add_inserted_rollups() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('graylag.compacting', true), '') <> 'on' then
    insert into outcome_totals as known (rollout_id, stage, device_class, arm, offered, committed, failed, rolled_back,
                                         timed_out, withdrawn, early_reports, early_failures, bytes_sent)
    select rollout_id, stage, device_class, arm, sum(offered), sum(committed), sum(failed), sum(rolled_back),
           sum(timed_out), sum(withdrawn), sum(early_reports), sum(early_failures), sum(bytes_sent)
    from fresh
    group by rollout_id, stage, device_class, arm order by rollout_id, stage, device_class, arm
    on conflict (rollout_id, stage, device_class, arm) do update set
      offered = known.offered + excluded.offered,
      committed = known.committed + excluded.committed,
      failed = known.failed + excluded.failed,
      rolled_back = known.rolled_back + excluded.rolled_back,
      timed_out = known.timed_out + excluded.timed_out,
      withdrawn = known.withdrawn + excluded.withdrawn,
      early_reports = known.early_reports + excluded.early_reports,
      early_failures = known.early_failures + excluded.early_failures,
      bytes_sent = known.bytes_sent + excluded.bytes_sent;
  end if;
  return null;
end $$;

create trigger add_inserted_rollups after insert on outcome_rollups referencing new table as fresh
  for each statement execute function add_inserted_rollups();

create function add_updated_rollups() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('graylag.compacting', true), '') <> 'on' then
    insert into outcome_totals as known (rollout_id, stage, device_class, arm, offered, committed, failed, rolled_back,
                                         timed_out, withdrawn, early_reports, early_failures, bytes_sent)
    select rollout_id, stage, device_class, arm, sum(offered), sum(committed), sum(failed), sum(rolled_back),
           sum(timed_out), sum(withdrawn), sum(early_reports), sum(early_failures), sum(bytes_sent)
    from (
      select rollout_id, stage, device_class, arm, offered, committed, failed, rolled_back,
             timed_out, withdrawn, early_reports, early_failures, bytes_sent
      from fresh
      union all
      select rollout_id, stage, device_class, arm, -offered, -committed, -failed, -rolled_back,
             -timed_out, -withdrawn, -early_reports, -early_failures, -bytes_sent
      from stale
    ) change
    group by rollout_id, stage, device_class, arm order by rollout_id, stage, device_class, arm
    on conflict (rollout_id, stage, device_class, arm) do update set
      offered = known.offered + excluded.offered,
      committed = known.committed + excluded.committed,
      failed = known.failed + excluded.failed,
      rolled_back = known.rolled_back + excluded.rolled_back,
      timed_out = known.timed_out + excluded.timed_out,
      withdrawn = known.withdrawn + excluded.withdrawn,
      early_reports = known.early_reports + excluded.early_reports,
      early_failures = known.early_failures + excluded.early_failures,
      bytes_sent = known.bytes_sent + excluded.bytes_sent;
  end if;
  return null;
end $$;

create trigger add_updated_rollups after update on outcome_rollups referencing new table as fresh old table as stale
  for each statement execute function add_updated_rollups();

-- Staged attempts are counted only while their rollout waits for activation. In other rollouts devices pass through this
-- state, and nothing reads the count.
create function count_staged_attempts() returns trigger language plpgsql as $$
begin
  insert into outcome_totals as known (rollout_id, stage, device_class, arm, staged)
  select rollout_id, stage, device_class, arm, sum(change) from (
    select rollout_id, stage, device_class, arm, 1 as change from fresh where state = 'staged' and closed_at is null
    union all
    select rollout_id, stage, device_class, arm, -1 from stale where state = 'staged' and closed_at is null
  ) changes
  where exists (
    select from rollouts r
    where r.id = rollout_id and r.policy ->> 'activation' = 'deferred' and r.activated_at is null
  )
  group by rollout_id, stage, device_class, arm having sum(change) <> 0
  order by rollout_id, stage, device_class, arm
  on conflict (rollout_id, stage, device_class, arm) do update set staged = known.staged + excluded.staged;
  return null;
end $$;

create trigger count_staged_attempts after update on attempts referencing new table as fresh old table as stale
  for each statement execute function count_staged_attempts();
