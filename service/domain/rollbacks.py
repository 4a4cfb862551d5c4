"""Where devices go whose version has been rolled back.

To the label that the rollout names; to what shipped inside their app, where it says `factory`; else to the version
that each came from, as the device itself remembers it (it keeps those files, so going back costs no bytes).
A device that does not say, or came from a version that is no good any more, goes to the newest released one below, and
failing that to the newest one below that no rollout was stopped over. Floors hold for all of these: devices refuse to go
below the floor of what they run.
"""

from typing import Protocol

from service.domain.catalogue import Line, Rollout, Version

FACTORY = "factory"
"""In place of a label: the version that shipped inside the app."""


class Counted(Protocol):
    """A version, as a value or as a row."""

    @property
    def counter(self) -> int:
        """What rollback protection compares."""

    @property
    def floor(self) -> int:
        """The lowest counter that a device goes back to from here."""


def reachable(counter: int, source: Counted) -> bool:
    """Whether a device that runs `source` may be brought back to the version of that counter."""
    return source.floor <= counter < source.counter


def destinations(
    line: Line, rollout: Rollout, *, came_from: str | None, shipped: str | None
) -> list[Version]:
    """The versions to bring a device back to, best first; empty where there is none.

    Args:
        line: the model.
        rollout: the one that was rolled back.
        came_from: label of what the device ran before.
        shipped: label of what shipped inside its app.
    """
    source, back_to = rollout.version, rollout.policy.back_to
    good = {
        label: version
        for label, version in line.versions.items()
        if not version.revoked and reachable(version.counter, source)
    }
    if back_to is not None and back_to != FACTORY:
        return [good[back_to]] if back_to in good else []
    released = {item.version.id for item in line.rollouts if item.state == "completed"}
    stopped = {item.version.id for item in line.rollouts if item.state in {"halted", "rolled_back"}}
    usual = sorted(
        (version for version in good.values() if version.id in released or version.id not in stopped),
        key=lambda version: (version.id in released, version.counter),
        reverse=True,
    )
    told = shipped if back_to == FACTORY else came_from
    own = [version for version in usual if version.label == told]
    return own + [version for version in usual if version.label != told]
