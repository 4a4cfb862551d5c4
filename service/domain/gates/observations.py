"""Everything that devices have reported to a rollout, which its gates are evaluated on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from service.domain.gates.gate_evaluation import CohortClass
from service.domain.gates.metrics import ArmMoments
from service.domain.gates.outcome_counts import OutcomeCounts, total


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything that devices have reported to a rollout.

    Attributes:
        outcomes: (stage, device class) -> outcomes of its attempts.
        values: metric -> (cohort, device class) -> measured values of both arms.
        admissions: admission probability -> (admitted, not admitted) devices that report metrics.
    """

    outcomes: Mapping[tuple[int, str], OutcomeCounts] = field(default_factory=dict)
    values: Mapping[str, Mapping[CohortClass, ArmMoments]] = field(default_factory=dict)
    admissions: Mapping[float, tuple[int, int]] = field(default_factory=dict)

    @property
    def device_classes(self) -> set[str]:
        """Device classes with at least one outcome."""
        return {device_class for (_, device_class), counts in self.outcomes.items() if counts.reports}

    def total(self, *, stage: int | None = None) -> OutcomeCounts:
        """Return the outcomes of one stage, or of all stages."""
        return total(counts for (index, _), counts in self.outcomes.items() if stage in (None, index))

    def without(self, device_classes: Collection[str]) -> "Observations":
        """Return the observations of all other device classes; admissions stay as they are."""
        values = {
            metric: {key: arms for key, arms in parts.items() if key[1] not in device_classes}
            for metric, parts in self.values.items()
        }
        outcomes = {key: counts for key, counts in self.outcomes.items() if key[1] not in device_classes}
        return Observations(outcomes, values, self.admissions)

    def by_device_class(self) -> dict[str, "Observations"]:
        """Return the observations of each device class with at least one outcome."""
        outcomes: dict[str, dict[tuple[int, str], OutcomeCounts]] = {name: {} for name in self.device_classes}
        values: dict[str, dict[str, dict[CohortClass, ArmMoments]]] = {name: {} for name in outcomes}
        for key, counts in self.outcomes.items():
            outcomes.get(key[1], {})[key] = counts
        for metric, parts in self.values.items():
            for cohort_class, arms in parts.items():
                values.get(cohort_class[1], {}).setdefault(metric, {})[cohort_class] = arms
        return {
            name: Observations(outcomes[name], values[name], self.admissions) for name in sorted(outcomes)
        }
