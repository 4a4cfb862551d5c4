"""Values that go into a poll's decision and come out of it: device, time, deliveries, decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sdk_contract.documents import Action
from sdk_contract.reasons import Reason
from service.domain.catalog import Component, Patch, Rollout, Variant, Version
from service.domain.rollouts.retry_window import RetryWindow
from service.domain.targeting.rules import Attributes


@dataclass(frozen=True, slots=True)
class DeviceContext:
    """What the server knows about the polling device.

    Attributes:
        device_id: id of the device.
        attributes: attributes of the device, with those of its token and of operators taking precedence.
        current: label of the running version; None if the device does not report one.
        components: name -> SHA-256 of each component on disk.
        wanted_components: names of the components that the device wants; None for all.
        accepts: patch formats that the device can apply, in order of preference.
        blocked_status: status of the device if it is not `accepted`.
        came_from: label of the version that ran before, if the device reports it.
        shipped: label of the version inside the app, if the device reports it.
        supports_deferred_activation: the device can stage a version and wait for activation.
        staged: label of the staged version, which the device can activate without a download.
    """

    device_id: str
    attributes: Attributes
    current: str | None
    components: Mapping[str, str]
    wanted_components: frozenset[str] | None
    accepts: tuple[str, ...]
    blocked_status: str | None = None
    came_from: str | None = None
    shipped: str | None = None
    supports_deferred_activation: bool = False
    staged: str | None = None


@dataclass(frozen=True, slots=True)
class DecisionTime:
    """When a decision is made.

    Attributes:
        now: the time of the poll.
        patches_requested_since: a device waits for a patch that is being built only if it was requested after this time.
    """

    now: datetime
    patches_requested_since: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one component gets to the device.

    Attributes:
        component: the component of the target version.
        keep: the device has the file already.
        patches: patches to try, in order; the full file is always the last option.
    """

    component: Component
    keep: bool
    patches: tuple[Patch, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes that the preferred option downloads."""
        if self.keep:
            return 0
        return self.patches[0].size if self.patches else self.component.size


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one poll.

    Attributes:
        reason: why the device gets what it gets.
        action: what the device is told to do.
        rollout: the rollout that decided; None if no rollout did.
        version: the version to install.
        variant: the variant to install.
        stage: index of the first stage that admits the device; its attempt is counted there.
        deliveries: how each wanted component gets to the device.
        retry_window: when to poll again, if that is known.
        activation_deferred: the device stages the version and activates it only when it is told to.
    """

    reason: Reason
    action: Action = "none"
    rollout: Rollout | None = None
    version: Version | None = None
    variant: Variant | None = None
    stage: int = 0
    deliveries: tuple[Delivery, ...] = ()
    retry_window: RetryWindow | None = None
    activation_deferred: bool = False

    @property
    def offered(self) -> bool:
        """Whether the device gets something to install."""
        return self.action in ("install", "rollback")
