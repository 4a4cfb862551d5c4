"""What is asked and what is answered, as values: the facts of a device, and the verdict on its poll."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sdk_contract.documents import Action
from sdk_contract.wire import Reason
from service.domain.catalogue import Component, Patch, Rollout, Variant, Version
from service.domain.cohorts import Attributes
from service.domain.openings import Opening


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the device that asks.

    Attributes:
        current: label of what it runs, if it said so.
        components: name -> sha256 of what is on its disk.
        modules: names of the components that it wants; None for all.
        accepts: patch formats that it can apply, in order of preference.
        blocked: its status where that is not `accepted`.
        came_from: label of what it ran before, if it says so.
        shipped: label of what shipped inside its app, if it says so.
        holds: it can stage a version and wait for the word to switch.
        staged: label of what it has staged, so that switching costs no bytes.
    """

    device_id: str
    attributes: Attributes
    current: str | None
    components: Mapping[str, str]
    modules: frozenset[str] | None
    accepts: tuple[str, ...]
    blocked: str | None = None
    came_from: str | None = None
    shipped: str | None = None
    holds: bool = False
    staged: str | None = None


@dataclass(frozen=True, slots=True)
class When:
    """The moment of a decision.

    Attributes:
        waiting_since: a patch that is being built is waited for if it was asked for after this moment.
    """

    now: datetime
    waiting_since: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one component gets to the device: nothing to do, or patches in order and the full file last."""

    component: Component
    keep: bool
    patches: tuple[Patch, ...] = ()

    @property
    def bytes(self) -> int:
        """What the preferred way downloads."""
        if self.keep:
            return 0
        return self.patches[0].size if self.patches else self.component.size


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one poll.

    Attributes:
        stage: index of the first stage that admits the device; the attempt is counted there.
        opening: when it is worth asking again, where that is known.
        held: the device shall stage the version, and switch only when told to.
    """

    reason: Reason
    action: Action = "none"
    rollout: Rollout | None = None
    version: Version | None = None
    variant: Variant | None = None
    stage: int = 0
    deliveries: tuple[Delivery, ...] = ()
    opening: Opening | None = None
    held: bool = False

    @property
    def offered(self) -> bool:
        """Whether the device gets something to install."""
        return self.action in ("install", "rollback")
