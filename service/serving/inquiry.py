"""`why`: an operator's question about one device, answered by the code that answers its polls."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.domain.catalogue import Line, Rollout
from service.domain.decisions import Decision, Facts, When
from service.domain.offers import refuge
from service.domain.pacing import HOUR_MINUTES, MINUTE, minute_of
from service.domain.strata import settled, stratum_of
from service.domain.why import RolloutTrace, explain
from service.serving import pace
from service.serving.answer import Demand, Pace, as_decided, choose_line, refused, wish_for
from service.serving.grants import Grant, consult
from service.serving.snapshot import Snapshot

PATCH_FORMATS = ("glp1", "full")
_GATE = text(
    """
    select rollout.waits_for, rollout.reason as said, verdict.outcome, verdict.reason, verdict.at
    from rollouts rollout
    left join lateral (
      select * from verdicts where verdicts.rollout_id = rollout.id order by verdicts.id desc limit 1
    ) verdict on true
    where rollout.id = :rollout
    """
)
"""Why the next stage is not open: what a rollout waits for, what was said of it last, and by its gates."""


@dataclass(frozen=True, slots=True)
class Known:
    """What we know of a device between its polls.

    Attributes:
        attributes: as it last said; an operator's are in the snapshot.
        runs: model -> version, as it last said.
        came_from: model -> what it ran before that, as far as we brought it there.
    """

    device_id: str
    status: str
    attributes: Mapping[str, Any]
    runs: Mapping[str, str | None]
    came_from: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Where a question is answered: the snapshot, the settings of polls, and a connection for what they ask of it.

    Attributes:
        foresee: whether the poll would wait for a patch that nobody makes yet.
    """

    snapshot: Snapshot
    pace: Pace
    connection: AsyncConnection
    foresee: Demand = as_decided

    async def why(self, known: Known, model: str | None, now: datetime) -> dict[str, Any]:
        """What the device's next poll would say, rollout by rollout; reads only.

        Raises:
            UnknownModel, ModelRequired: nothing to decide about.
        """
        line, when = choose_line(self.snapshot, model), When(now, now - self.pace.patch_wait)
        facts = self._facts(known, line)
        found = explain(line, facts, when, self.snapshot.cohorts)
        decided = self.foresee(line, facts, found.decision, when.now)
        grant = await self._consult(line, decided, facts, when)
        decision = _final(line, decided, facts, grant)
        offered = decision.offered
        return {
            "device_id": known.device_id,
            "model": line.name,
            "runs": facts.current,
            "status": known.status,
            "attributes": facts.attributes,
            "reason": decision.reason,
            "action": decision.action,
            "version": decision.version.label if decision.version and offered else None,
            "variant": decision.variant.name if decision.variant and offered else None,
            "rollout": decision.rollout.name if decision.rollout else None,
            "again_at": decision.opening.at if decision.opening else None,
            "rollouts": [
                await self._rollout(line, rollout, trace, facts, when)
                for rollout, trace in zip(line.rollouts, found.rollouts, strict=True)
            ],
        }

    def _facts(self, known: Known, line: Line) -> Facts:
        return Facts(
            device_id=known.device_id,
            attributes={**known.attributes, **self.snapshot.overrides.get(known.device_id, {})},
            current=known.runs.get(line.name),
            components={},
            modules=None,
            accepts=PATCH_FORMATS,
            blocked=self.snapshot.blocked.get(known.device_id),
            came_from=known.came_from.get(line.name),
            holds=True,  # as the reference client does; we do not keep what others can do
        )

    async def _consult(self, line: Line, decision: Decision, facts: Facts, when: When) -> Grant | None:
        if not decision.offered or decision.rollout is None:
            return None
        return await consult(self.connection, wish_for(line, decision, facts, when.now, self.pace))

    async def _rollout(
        self, line: Line, rollout: Rollout, trace: RolloutTrace, facts: Facts, when: When
    ) -> dict[str, Any]:
        decided = self.foresee(line, facts, trace.decision, when.now)
        grant = await self._consult(line, decided, facts, when)
        shown = asdict(trace)
        del shown["decision"]
        return shown | {
            "reason": _final(line, decided, facts, grant).reason,
            "gate": await self._gate(rollout, facts),
            "penalty": self._penalty(grant),
            "pacing": await self._pacing(rollout, when),
        }

    async def _gate(self, rollout: Rollout, facts: Facts) -> dict[str, Any]:
        stratum = settled(stratum_of(facts.attributes), rollout.strata)
        rows = await self.connection.execute(_GATE, {"rollout": rollout.id})
        row = rows.mappings().one_or_none()
        found: dict[str, Any] = dict(row) if row is not None else {}
        return found | {"stratum": stratum, "held": stratum in rollout.held}

    def _penalty(self, grant: Grant | None) -> dict[str, Any] | None:
        if grant is None or not (grant.failures or grant.retry):
            return None
        return {"failures": grant.failures, "allowed": self.pace.strikes, "may_retry": grant.retry}

    async def _pacing(self, rollout: Rollout, when: When) -> dict[str, Any] | None:
        bounds = rollout.policy.pacing
        if not bounds.bounded:
            return None
        ledger = (await pace.read(self.connection, {rollout.id: bounds}, when.now))[rollout.id]
        since = minute_of(when.now) - (HOUR_MINUTES - 1) * MINUTE
        return {
            "open_downloads": bounds.open_downloads,
            "downloading": ledger.open if bounds.open_downloads is not None else None,
            "bytes_per_hour": bounds.bytes_per_hour,
            "bytes_last_hour": sum(size for minute, size in ledger.spent.items() if minute >= since),
        }


def _final(line: Line, decision: Decision, facts: Facts, grant: Grant | None) -> Decision:
    if grant is None or grant.refusal is None:
        return decision
    return refuge(line, facts) or refused(decision, grant)
