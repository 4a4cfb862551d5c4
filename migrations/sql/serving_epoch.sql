-- The serving epoch rises whenever data changes that polls are answered from.
--
-- API processes answer polls from memory and read this number every second to detect that their copy is outdated. Triggers
-- increment it, so that no writer can forget to. They run once per statement in the transaction of the writer, so the
-- new number becomes visible together with the change that it announces.

insert into serving_epoch (id, value) values (1, 1);

create function increment_serving_epoch() returns trigger language plpgsql as $$
begin
  update serving_epoch set value = value + 1 where id = 1;
  return null;
end $$;

do $$
declare
  watched text;
begin
  foreach watched in array array['models', 'versions', 'variants', 'components', 'patches', 'cohorts', 'cohort_members',
                                 'rollouts', 'stages', 'trust_bundles']
  loop
    execute format('create trigger increment_serving_epoch after insert or update or delete or truncate on %I '
                   'for each statement execute function increment_serving_epoch()', watched);
  end loop;
end $$;

-- Of devices, only these columns are part of a snapshot; check-ins change the others all the time.
create trigger increment_serving_epoch after update of status, admin_attributes on devices
  for each statement execute function increment_serving_epoch();
