"""Outcomes summed up as they are counted.

Gates read sums over all minutes. Triggers keep these in the transaction of the counts, so that no writer can forget
to. Folding puts minutes together and counts nothing: it says so (`graylag.folding`), and its rows are left out.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COUNTS = (
    "offered",
    "committed",
    "failed",
    "rolled_back",
    "timed_out",
    "withdrawn",
    "early",
    "early_bad",
    "bytes_sent",
)
KEY = "rollout_id, stage, stratum, arm"


def upgrade() -> None:
    op.create_table(
        "outcome_totals",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in (*COUNTS, "waiting")
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_outcome_totals_rollout_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "stage", "stratum", "arm", name="pk_outcome_totals"),
    )
    # A few rows, each changed by every batch: room on their pages keeps the index out of it.
    op.execute("alter table outcome_totals set (fillfactor = 50)")
    names, sums = ", ".join(COUNTS), ", ".join(f"sum({name})" for name in COUNTS)
    less = ", ".join(f"-{name}" for name in COUNTS)
    _sum_up_after("insert", "fresh", "fresh")
    _sum_up_after(
        "update",
        f"(select {KEY}, {names} from fresh union all select {KEY}, {less} from stale) moved",  # noqa: S608 - constants
        "fresh",
        "stale",
    )
    _follow_who_waits()
    # Behind the triggers: they have stopped who counts until this is over.
    op.execute(
        f"insert into outcome_totals ({KEY}, {names}) select {KEY}, {sums} from rollups group by {KEY}"  # noqa: S608 - constants
    )
    op.execute(
        f"insert into outcome_totals as known ({KEY}, waiting) "  # noqa: S608 - constants
        f"select {KEY}, count(*) from attempts where closed_at is null and state = 'staged' group by {KEY} "
        f"on conflict ({KEY}) do update set waiting = excluded.waiting"
    )


def _sum_up_after(change: str, source: str, new: str, old: str | None = None) -> None:
    """A trigger that adds what a statement has counted: one upsert per statement."""
    names, sums = ", ".join(COUNTS), ", ".join(f"sum({name})" for name in COUNTS)
    added = ", ".join(f"{name} = known.{name} + excluded.{name}" for name in COUNTS)
    op.execute(
        f"""
        create function sum_up_rollups_after_{change}() returns trigger language plpgsql as $$
        begin
          if coalesce(current_setting('graylag.folding', true), '') <> 'on' then
            insert into outcome_totals as known ({KEY}, {names})
            select {KEY}, {sums} from {source} group by {KEY} order by {KEY}
            on conflict ({KEY}) do update set {added};
          end if;
          return null;
        end $$
        """  # noqa: S608 - constants
    )
    tables = f"new table as {new}" + (f" old table as {old}" if old else "")
    op.execute(
        f"create trigger sum_up_after_{change} after {change} on rollups referencing {tables} "
        f"for each statement execute function sum_up_rollups_after_{change}()"
    )


def _follow_who_waits() -> None:
    """A trigger that keeps how many attempts have staged the version and wait for the word to switch.

    Only where there is such a word to come: elsewhere devices pass through `staged`, and nobody counts them.
    """
    waits = "state = 'staged' and closed_at is null"
    op.execute(
        f"""
        create function count_who_waits() returns trigger language plpgsql as $$
        begin
          insert into outcome_totals as known ({KEY}, waiting)
          select {KEY}, sum(change) from (
            select {KEY}, 1 as change from fresh where {waits}
            union all select {KEY}, -1 from stale where {waits}
          ) moved
          where exists (select from rollouts r where r.id = rollout_id and r.policy ->> 'activation' = 'together'
                                                and r.activated_at is null)
          group by {KEY} having sum(change) <> 0 order by {KEY}
          on conflict ({KEY}) do update set waiting = known.waiting + excluded.waiting;
          return null;
        end $$
        """  # noqa: S608 - constants
    )
    op.execute(
        "create trigger count_who_waits after update on attempts referencing new table as fresh old table as stale "
        "for each statement execute function count_who_waits()"
    )


def downgrade() -> None:
    op.execute("drop trigger count_who_waits on attempts")
    op.execute("drop function count_who_waits()")
    for change in ("update", "insert"):
        op.execute(f"drop trigger sum_up_after_{change} on rollups")
        op.execute(f"drop function sum_up_rollups_after_{change}()")
    op.drop_table("outcome_totals")
