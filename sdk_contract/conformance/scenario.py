"""Scenarios and the suites that group them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sdk_contract.conformance.session import Session

Run = Callable[[Session], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One test of an SDK.

    Attributes:
        name: `suite.words-of-the-scenario`.
        requirement: what the SDK must do, in one sentence.
        run: plays the scenario in a session; raises if the SDK does not meet the requirement.
        attack: row of the attack table (`README.md`, section 17) that the scenario belongs to.
    """

    name: str
    requirement: str
    run: Run
    attack: str | None = None


@dataclass(slots=True)
class Suite:
    """The scenarios about one subject."""

    name: str
    scenarios: list[Scenario] = field(default_factory=list)

    def scenario(self, attack: str | None = None) -> Callable[[Run], Run]:
        """Decorator that adds a function as a scenario; its docstring is the requirement."""

        def register(run: Run) -> Run:
            name = getattr(run, "__name__", "").replace("_", "-")
            self.add(name, (run.__doc__ or "").strip().splitlines()[0], run, attack)
            return run

        return register

    def add(self, name: str, requirement: str, run: Run, attack: str | None = None) -> None:
        """Add a scenario."""
        self.scenarios.append(Scenario(f"{self.name}.{name}", requirement, run, attack))

    def __iter__(self) -> Iterator[Scenario]:
        """The scenarios in the order of the file."""
        return iter(self.scenarios)
