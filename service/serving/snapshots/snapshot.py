"""A consistent, immutable view of the database, which polls are decided from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.catalog import ModelView
from service.domain.targeting.cohorts import Cohort
from service.serving.snapshots.rollout_indexes import RememberedIndexes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of the database.

    Attributes:
        epoch: the serving epoch at which it was loaded; 0 before the first load.
        models: model name -> its versions, rollouts and patches.
        rollout_indexes: model name -> the indexes of its rollouts, with their memory.
        cohorts: name -> cohort; cohorts with an invalid rule are left out.
        blocked: device id -> status of every device that is not `accepted`.
        overrides: device id -> attributes that an operator set.
        trust_version: version of the newest trust bundle; 0 for none.
        trust_chain: (version, envelope) of all trust bundles, oldest first.
    """

    epoch: int = 0
    models: Mapping[str, ModelView] = field(default_factory=dict)
    rollout_indexes: Mapping[str, RememberedIndexes] = field(default_factory=dict)
    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    blocked: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    trust_version: int = 0
    trust_chain: tuple[tuple[int, bytes], ...] = ()
