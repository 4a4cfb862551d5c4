"""Looking at a rollout's gates, and doing what they say. Writes `verdicts`, and `rollouts.held`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service import store
from service.domain import brakes, findings, gates
from service.domain import rollouts as life
from service.errors import NotFound
from service.operations import attempts, gate_figures
from service.operations.rollout_effects import carry_out
from service.operations.rollouts import note, require

WATCHED = frozenset({"running", "completed"})
WRITE_EVERY = timedelta(minutes=5)
"""How often a verdict is written down whose outcome and cause have stayed the same."""


def evaluate(session: Session, rollout_id: UUID, *, now: datetime) -> brakes.Verdict | None:
    """Look at a rollout's gates and do what they say; None when nobody is to look.

    A completed rollout is still looked at: late devices get the same brakes, and a breach halts it. The
    row is locked, and looked at again, only where something is to be written: grants need that row.
    """
    row = store.rollouts.rollout(session, rollout_id)
    looked = _look(session, row, now)
    if row is None or looked is None or not (_acts(row, looked[0]) or _due(session, row, looked[0], now)):
        return looked[0] if looked else None
    row = store.rollouts.rollout(session, rollout_id, lock=True)
    looked = _look(session, row, now)
    if row is None or looked is None:
        return None
    verdict, seen = looked
    _hold(session, row, verdict.blamed, now)
    if _due(session, row, verdict, now):
        _write(session, row, verdict, seen, now)
    if _acts(row, verdict):
        _obey(session, row, verdict, now)
    return verdict


def ready_for_promotion(session: Session, row: store.rollouts.RolloutRow, *, now: datetime) -> bool:
    """Whether nothing but a person's word, if that, keeps the stage from ending."""
    looked = _look(session, row, now)
    return looked is not None and (looked[0].outcome == "advance" or looked[0].cause == brakes.APPROVAL)


def release(
    session: Session, key: str, stratum: str, *, actor: str, reason: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Let a stratum that is held back have the version again; what it has reported so far is forgiven.

    Raises:
        NotFound: no such rollout, or that stratum is not held back in it.
    """
    row = require(session, key, lock=True)
    if stratum not in gate_figures.held(row):
        names = ", ".join(sorted(gate_figures.held(row))) or "none"
        raise NotFound(f"{stratum!r} is not held back in {row.name}; held back: {names}", field="stratum")
    pardon = {
        "released_at": now.isoformat(),
        "released_by": actor,
        "forgiven": gate_figures.forgiven(session, row, stratum),
    }
    row.held = [entry | pardon if entry["stratum"] == stratum else entry for entry in row.held]
    note(session, row, "release", actor, now, reason=f"{stratum}: {reason}" if reason else stratum)
    return row


def verdicts(session: Session, key: str, *, limit: int) -> Sequence[store.gates.VerdictRow]:
    """The newest verdicts of a rollout, newest first.

    Raises:
        NotFound: no such rollout.
    """
    return store.gates.verdicts(session, require(session, key).id, limit=limit)


def gates_now(session: Session, key: str, *, now: datetime) -> dict[str, Any]:
    """What the gates say at this moment, who is held back, and what has been measured; changes nothing.

    Raises:
        NotFound: no such rollout.
    """
    row = require(session, key)
    looked = _look(session, row, now)
    return {
        "verdict": _entry(row, *looked, now) if looked else None,
        "held": [entry for entry in row.held if "released_at" not in entry],
        "measured": gate_figures.summary(session, row),
    }


def _look(
    session: Session, row: store.rollouts.RolloutRow | None, now: datetime
) -> tuple[brakes.Verdict, brakes.Seen] | None:
    if row is None or row.state not in WATCHED or row.stage_since is None:
        return None
    written = row.stages[row.stage]
    parsed = [gates.parse_gate(gate, "gate") for gate in written.gates]
    stage = brakes.Stage(row.stage, parsed, life.hold_of(written.hold), now - row.stage_since)
    seen = gate_figures.seen(session, row, parsed)
    return brakes.judge(stage, seen, gate_figures.held(row)), seen


def _acts(row: store.rollouts.RolloutRow, verdict: brakes.Verdict) -> bool:
    if verdict.blamed or verdict.outcome == "breach":
        return True
    return verdict.outcome == "advance" and row.state == "running" and not row.waits_for


def _due(
    session: Session, row: store.rollouts.RolloutRow, verdict: brakes.Verdict, now: datetime
) -> bool:  # fmt: skip
    """Whether a verdict says something new, or the same for long enough while counts moved."""
    last = store.gates.last_verdict(session, row.id)
    if last is None or (last.stage, last.outcome, last.cause) != (row.stage, verdict.outcome, verdict.cause):
        return True
    return last.reason != verdict.reason and now - last.at >= WRITE_EVERY


def _write(
    session: Session,
    row: store.rollouts.RolloutRow,
    verdict: brakes.Verdict,
    seen: brakes.Seen,
    now: datetime,
) -> None:
    session.add(store.gates.VerdictRow(rollout_id=row.id, **_entry(row, verdict, seen, now)))


def _entry(
    row: store.rollouts.RolloutRow, verdict: brakes.Verdict, seen: brakes.Seen, now: datetime
) -> dict[str, Any]:
    return {
        "at": now,
        "stage": row.stage,
        "outcome": verdict.outcome,
        "cause": verdict.cause,
        "reason": verdict.reason,
        "figures": gate_figures.figures(verdict, seen, gate_figures.held(row)),
    }


def _hold(
    session: Session, row: store.rollouts.RolloutRow, blamed: Mapping[str, findings.Finding], now: datetime
) -> None:
    """No new offers for these strata, and what they were offered and have not installed is withdrawn."""
    for stratum, finding in blamed.items():
        entry: dict[str, Any] = {"stratum": stratum, "reason": finding.said, "since": now.isoformat()}
        # A new list: changes inside the old one would go unnoticed.
        row.held = [*(old for old in row.held if old["stratum"] != stratum), entry]
        attempts.withdraw_stratum(session, row.id, stratum, now=now)
        note(session, row, "hold_stratum", "gates", now, reason=f"{stratum}: {finding.said}")


def _obey(
    session: Session, row: store.rollouts.RolloutRow, verdict: brakes.Verdict, now: datetime
) -> None:  # fmt: skip
    if verdict.outcome == "hold" or (verdict.outcome == "advance" and row.state == "completed"):
        return
    verb = row.on_breach if verdict.outcome == "breach" else "advance"
    if verb == "advance" and row.stage == len(row.stages) - 1:
        if life.awaits_word(row.policy, row.activated_at):
            row.waits_for = "activate: enough of its devices have staged the version"
            return
        verb = "complete"
    carry_out(session, row, verb, actor="gates", reason=verdict.reason, now=now)
