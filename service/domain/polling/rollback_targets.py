"""Where devices go whose version was rolled back.

The rollout may name a label, or `factory` for the version inside the app. Otherwise each device goes back to the
version that it came from, which it still has on disk. A device that does not report it, or came from a version that is
no longer good, goes to the newest released version below, and without one to the newest version below whose rollout
was not stopped. Floors hold in every case, since devices refuse to go below the floor of what they run.
"""

from typing import Protocol

from service.domain.catalog import ModelView, Rollout, Version

FACTORY = "factory"
"""In place of a label: the version inside the app."""


class VersionBounds(Protocol):
    """The counter and the floor of a version, as a value or as a row."""

    @property
    def counter(self) -> int:
        """The number that rollback protection compares."""

    @property
    def floor(self) -> int:
        """The lowest counter that a device may go to from this version."""


def can_roll_back_to(counter: int, source: VersionBounds) -> bool:
    """Return whether a device that runs `source` may go back to the version with this counter."""
    return source.floor <= counter < source.counter


def rollback_targets(
    model: ModelView, rollout: Rollout, *, came_from: str | None, shipped: str | None
) -> list[Version]:
    """Return the versions that a device may go back to, best first.

    Args:
        model: the model.
        rollout: the rollout that was rolled back.
        came_from: label of the version that the device ran before.
        shipped: label of the version inside its app.
    """
    source, rollback_to = rollout.version, rollout.policy.rollback_to
    good = {
        label: version
        for label, version in model.versions.items()
        if not version.revoked and can_roll_back_to(version.counter, source)
    }
    if rollback_to is not None and rollback_to != FACTORY:
        return [good[rollback_to]] if rollback_to in good else []
    released, stopped = released_and_stopped(model)
    targets = sorted(
        (version for version in good.values() if version.id in released or version.id not in stopped),
        key=lambda version: (version.id in released, version.counter),
        reverse=True,
    )
    preferred = shipped if rollback_to == FACTORY else came_from
    return sorted(targets, key=lambda version: version.label != preferred)


def released_and_stopped(model: ModelView) -> tuple[frozenset[int], frozenset[int]]:
    """Return the ids of versions that a rollout released to every device, and of those that one was stopped over."""
    released = frozenset(rollout.version.id for rollout in model.rollouts if rollout.state == "completed")
    stopped = frozenset(
        rollout.version.id for rollout in model.rollouts if rollout.state in {"halted", "rolled_back"}
    )
    return released, stopped
