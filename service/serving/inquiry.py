"""`why`: an operator's question about one device, answered by the code that answers its polls."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from service.domain.offers import Facts, When
from service.domain.why import explain
from service.serving.answer import choose_line
from service.serving.snapshot import Snapshot

PATCH_FORMATS = ("glp1", "full")


@dataclass(frozen=True, slots=True)
class Known:
    """What we know of a device between its polls.

    Attributes:
        attributes: as it last said; an operator's are in the snapshot.
        runs: model -> version, as it last said.
    """

    device_id: str
    status: str
    attributes: Mapping[str, Any]
    runs: Mapping[str, str | None]


def why(
    snapshot: Snapshot, known: Known, model: str | None, now: datetime, patch_wait: timedelta
) -> dict[str, Any]:
    """What the device's next poll would say, rollout by rollout.

    Raises:
        UnknownModel, ModelRequired: nothing to decide about.
    """
    line = choose_line(snapshot, model)
    attributes = {**known.attributes, **snapshot.overrides.get(known.device_id, {})}
    facts = Facts(
        device_id=known.device_id,
        attributes=attributes,
        current=known.runs.get(line.name),
        components={},
        modules=None,
        accepts=PATCH_FORMATS,
        blocked=snapshot.blocked.get(known.device_id),
    )
    found = explain(line, facts, When(now, now - patch_wait))
    decision = found.decision
    return {
        "device_id": known.device_id,
        "model": line.name,
        "runs": facts.current,
        "status": known.status,
        "attributes": attributes,
        "reason": decision.reason,
        "action": decision.action,
        "version": decision.version.label if decision.version else None,
        "variant": decision.variant.name if decision.variant else None,
        "rollout": decision.rollout.name if decision.rollout else None,
        "rollouts": [asdict(trace) for trace in found.rollouts],
    }
