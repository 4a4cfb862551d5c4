"""The serving epoch moves by itself, and events have partitions.

Polls are answered from memory; every API process looks at one number each second to see whether its
copy is old. Triggers move that number, so that no writer can forget to. They fire once a statement,
in the writer's transaction: the number is never seen before the change that it announces.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WATCHED = (
    "models",
    "versions",
    "variants",
    "components",
    "patches",
    "cohorts",
    "cohort_members",
    "rollouts",
    "stages",
    "trust_bundles",
)


def upgrade() -> None:
    op.execute("insert into serving_epoch (id, value) values (1, 1)")
    op.execute(
        """
        create function move_serving_epoch() returns trigger language plpgsql as $$
        begin
          update serving_epoch set value = value + 1 where id = 1;
          return null;
        end $$
        """
    )
    for table in WATCHED:
        op.execute(
            f"create trigger move_serving_epoch after insert or update or delete or truncate on {table} "
            "for each statement execute function move_serving_epoch()"
        )
    op.execute(
        "create trigger move_serving_epoch after update of status, admin_attributes on devices "
        "for each statement execute function move_serving_epoch()"
    )
    op.execute("create table events_default partition of events default")
    op.execute(
        """
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
        end $$
        """
    )
    op.execute("select create_event_partitions(current_date - 1, 9)")


def downgrade() -> None:
    op.execute("drop function create_event_partitions(date, int)")
    op.execute(
        """
        do $$ declare child regclass; begin
          for child in select inhrelid::regclass from pg_inherits where inhparent = 'events'::regclass loop
            execute format('drop table %s', child);
          end loop;
        end $$
        """
    )
    for table in (*WATCHED, "devices"):
        op.execute(f"drop trigger move_serving_epoch on {table}")
    op.execute("drop function move_serving_epoch()")
    op.execute("delete from serving_epoch")
