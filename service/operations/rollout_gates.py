"""Looking at a rollout's gates, and doing what they say."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from service import store
from service.domain import gates
from service.domain import rollouts as life
from service.operations.rollout_effects import carry_out


def evaluate(session: Session, rollout_id: UUID, *, now: datetime) -> gates.Verdict | None:
    """Look at a rollout's gates and do what they say; None when nobody is to look.

    A completed rollout is still looked at: late devices get the same brakes, and a breach halts it.
    """
    row = store.rollouts.rollout(session, rollout_id, lock=True)
    if row is None or row.state not in {"running", "completed"} or row.stage_since is None:
        return None
    verdict = look(session, row, now=now)
    _obey(session, row, verdict, now)
    return verdict


def look(session: Session, row: store.rollouts.RolloutRow, *, now: datetime) -> gates.Verdict:
    """What the gates say of the stage that is open now."""
    tallies = {stage: _tally(counts) for stage, counts in store.rollouts.tallies(session, row.id).items()}
    stage = row.stages[row.stage]
    return gates.judge(
        [gates.parse_gate(gate, "gate") for gate in stage.gates],
        life.hold_of(stage.hold),
        own=tallies.get(row.stage, gates.Tally()),
        all_stages=_sum(list(tallies.values())),
        age=now - (row.stage_since or now),
    )


def ready_for_promotion(session: Session, row: store.rollouts.RolloutRow, *, now: datetime) -> bool:
    """Whether nothing but a person's word, if that, keeps the stage from ending."""
    verdict = look(session, row, now=now)
    return verdict.outcome == "advance" or verdict.reason == gates.WAITS_FOR_PROMOTE


def _obey(session: Session, row: store.rollouts.RolloutRow, verdict: gates.Verdict, now: datetime) -> None:
    if verdict.outcome == "hold" or (verdict.outcome == "advance" and row.state == "completed"):
        return
    verb = row.on_breach if verdict.outcome == "breach" else "advance"
    if verb == "advance" and row.stage == len(row.stages) - 1:
        verb = "complete"
    carry_out(session, row, verb, actor="gates", reason=verdict.reason, now=now)


def _tally(counts: dict[str, int]) -> gates.Tally:
    names = ("offered", "committed", "failed", "rolled_back", "timed_out")
    return gates.Tally(**{name: counts[name] for name in names})


def _sum(tallies: Sequence[gates.Tally]) -> gates.Tally:
    total = gates.Tally()
    for tally in tallies:
        total = total.plus(tally)
    return total
