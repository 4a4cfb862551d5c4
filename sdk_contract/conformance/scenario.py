"""Scenarios and the books that hold them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sdk_contract.conformance.stage import Stage

Play = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story.

    Attributes:
        name: `group.words`.
        text: one sentence: what must hold.
        attack: the row of the attack table that it belongs to.
    """

    name: str
    text: str
    play: Play
    attack: str | None = None


@dataclass(slots=True)
class Book:
    """The scenarios of one group."""

    group: str
    scenarios: list[Scenario] = field(default_factory=list)

    def scenario(self, attack: str | None = None) -> Callable[[Play], Play]:
        """Decorates a function whose name and docstring become the scenario's."""

        def take(play: Play) -> Play:
            words = getattr(play, "__name__", "").replace("_", "-")
            self.add(words, (play.__doc__ or "").strip().splitlines()[0], play, attack)
            return play

        return take

    def add(self, words: str, text: str, play: Play, attack: str | None = None) -> None:
        """Add one by hand."""
        self.scenarios.append(Scenario(f"{self.group}.{words}", text, play, attack))

    def __iter__(self) -> Iterator[Scenario]:
        """In the order of the file."""
        return iter(self.scenarios)
