"""Cohorts: named parts of the fleet."""

from dataclasses import dataclass
from typing import Any

from service.domain.targeting.rules import Predicate


@dataclass(frozen=True, slots=True)
class Cohort:
    """A named part of the fleet.

    Attributes:
        name: unique name of the cohort.
        rule: the JSON rule as its author wrote it; None for a plain list of devices.
        matches: whether a device belongs, by rule or by list.
    """

    name: str
    rule: Any
    matches: Predicate
