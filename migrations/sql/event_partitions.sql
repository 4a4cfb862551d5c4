-- Events are partitioned by day. The service creates the partitions of the next days; the default one takes the rest.

create table events_default partition of events default;

create function create_event_partitions(first_day date, days int) returns void language plpgsql as $$
declare
  one date;
begin
  for i in 0 .. days - 1 loop
    one := first_day + i;
    if to_regclass('events_' || to_char(one, 'YYYYMMDD')) is null
       and not exists (select 1 from events_default where day = one)
    then
      execute format('create table %I partition of events for values from (%L) to (%L)',
                     'events_' || to_char(one, 'YYYYMMDD'), one, one + 1);
    end if;
  end loop;
end $$;

select create_event_partitions(current_date - 1, 9);
