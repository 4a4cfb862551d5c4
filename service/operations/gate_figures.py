"""What gates see, read from the counts, and what they saw, as JSON. Reads only."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain import measures
from service.domain import rollouts as life
from service.domain.brakes import Seen, Verdict
from service.domain.findings import Block, Tally
from service.domain.gates import AnyGate, MeasureGate
from service.domain.measures import Compared, Moments
from service.domain.strata import held_strata

CERTAIN = 1e6
_TALLY = tuple(field.name for field in fields(Tally))


def seen(session: Session, row: store.rollouts.RolloutRow, gates: Sequence[AnyGate]) -> Seen:
    """All that has come back from a rollout's devices, less what a person has forgiven."""
    outcomes = {key: Tally(**counts) for key, counts in store.gates.outcomes(session, row.id).items()}
    if life.awaits_word(row.policy, row.activated_at):
        # Until devices are told to switch, having staged the version is all the good news that there can be.
        for key, count in store.gates.waiting(session, row.id).items():
            outcomes[key] = outcomes.get(key, Tally()).plus(Tally(committed=count))
    metrics = sorted({gate.metric for gate in gates if isinstance(gate, MeasureGate)})
    everything = Seen(outcomes, values(session, row, metrics) if metrics else {}, _shares(session, row))
    return _less(everything, [entry["forgiven"] for entry in row.held if "forgiven" in entry])


def held(row: store.rollouts.RolloutRow) -> frozenset[str]:
    """The strata that get nothing new."""
    return held_strata(row.held)


def values(
    session: Session, row: store.rollouts.RolloutRow, metrics: Sequence[str]
) -> dict[str, dict[Block, Compared]]:
    """What was measured: metric -> (cohort, stratum) -> both arms."""
    cohorts = {stage.ordinal: stage.cohort for stage in row.stages}
    # Plain numbers first: a thousand rows become a few hundred objects, not several thousand.
    sums: dict[tuple[str, Block], list[int]] = defaultdict(lambda: [0] * 6)
    for metric, stage, stratum, arm, *numbers in store.gates.moments(session, row.id, metrics):
        both, first = sums[metric, (cohorts.get(stage, ""), stratum)], 0 if arm == "treated" else 3
        for place, number in enumerate(numbers, first):
            both[place] += number
    found: dict[str, dict[Block, Compared]] = defaultdict(dict)
    for (metric, block), both in sums.items():
        found[metric][block] = Compared(Moments(*both[:3]), Moments(*both[3:]))
    return dict(found)


def forgiven(session: Session, row: store.rollouts.RolloutRow, stratum: str) -> dict[str, Any]:
    """The counts of one stratum as they are, to be taken off whatever is looked at later."""
    tallies = store.gates.outcomes(session, row.id)
    blocks = values(session, row, store.gates.measured(session, row.id))
    return {
        "outcomes": [[stage, name, counts] for (stage, name), counts in tallies.items() if name == stratum],
        "values": [
            [metric, *block, asdict(both)]
            for metric, parts in blocks.items()
            for block, both in parts.items()
            if block[1] == stratum
        ],
    }


def figures(verdict: Verdict, looked_at: Seen, out: frozenset[str]) -> dict[str, Any]:
    """What a verdict is made of, for people."""
    own = verdict.own
    early = _rate(own.early_bad, own.early)
    late = _rate(own.against("failure_rate") - own.early_bad, own.reports - own.early)
    return {
        "findings": [
            # Certainty is infinite, and infinity is no JSON.
            asdict(finding) | {"evidence": min(finding.evidence, CERTAIN)}
            for finding in verdict.findings
        ],
        "outcomes": {name: getattr(own, name) for name in _TALLY},
        "coverage": own.coverage,
        "early": early,
        "late": late,
        "held": sorted(out),
        "strata": _strata(looked_at),
    }


def summary(session: Session, row: store.rollouts.RolloutRow) -> dict[str, Any]:
    """What devices have measured in a rollout, both arms, whether a gate asks for it or not."""
    found = values(session, row, store.gates.measured(session, row.id))
    whole = {metric: _sum(parts) for metric, parts in found.items()}
    return {
        metric: {
            arm: {"devices": moments.count, "typical": moments.typical if moments.count else None}
            for arm, moments in (("treated", both.treated), ("control", both.control))
        }
        for metric, both in whole.items()
    }


def _strata(looked_at: Seen) -> dict[str, dict[str, int]]:
    return {
        stratum: {"reports": total.reports, "bad": total.against("failure_rate")}
        for stratum, own in looked_at.apart().items()
        for total in [own.total()]
    }


def _sum(parts: Mapping[Block, Compared]) -> Compared:
    total = Compared()
    for part in parts.values():
        total = total.plus(part)
    return total


def _rate(bad: int, reports: int) -> dict[str, Any]:
    return {"reports": reports, "failure_rate": bad / reports if reports else None}


def _shares(session: Session, row: store.rollouts.RolloutRow) -> dict[float, tuple[int, int]]:
    found: dict[float, tuple[int, int]] = {}
    for bucket, side, count in store.gates.shares(session, row.id):
        inside, outside = found.get(bucket / measures.SHARE_STEPS, (0, 0))
        found[bucket / measures.SHARE_STEPS] = (
            (inside + count, outside) if side == "in" else (inside, outside + count)
        )
    return found


def _less(everything: Seen, entries: Sequence[Mapping[str, Any]]) -> Seen:
    outcomes = dict(everything.outcomes)
    blocks = {metric: dict(parts) for metric, parts in everything.values.items()}
    for entry in entries:
        for stage, stratum, counts in entry["outcomes"]:
            key = stage, stratum
            outcomes[key] = outcomes.get(key, Tally()).minus(Tally(**counts))
        for metric, cohort, stratum, both in entry["values"]:
            parts = blocks.get(metric, {})
            if (cohort, stratum) in parts:
                taken = Compared(Moments(**both["treated"]), Moments(**both["control"]))
                parts[cohort, stratum] = parts[cohort, stratum].minus(taken)
    return Seen(outcomes, blocks, everything.shares)
