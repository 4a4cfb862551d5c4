"""Where devices go that run a revoked version.

The targets are good versions that were released to every device, newest first; after them earlier versions, such as
the one inside the app, which never had a rollout. A version whose rollout was stopped is no target. The floor of the
revoked version holds, since devices would refuse to go below it, and no device skips a barrier.
"""

from sdk_contract.documents import Action
from service.domain.catalog import ModelView, Version
from service.domain.polling.decisions import Decision, DeviceContext
from service.domain.polling.deliveries import choose_variant, plan_deliveries
from service.domain.polling.eligibility import next_barrier
from service.domain.polling.rollback_targets import released_and_stopped


def revocation_target(model: ModelView, device: DeviceContext) -> Decision | None:
    """Return the decision for a device on a revoked version, regardless of rollouts; None for other devices."""
    current = model.versions.get(device.current or "")
    if current is None or not current.revoked:
        return None
    return leave_revoked_version(model, current, device)


def leave_revoked_version(model: ModelView, revoked: Version, device: DeviceContext) -> Decision:
    """Offer the best target that has a variant for the device; without one the device keeps its version."""
    for version in _targets(model, revoked, next_barrier(model, revoked, device)):
        variant = choose_variant(version, device)
        if variant is not None:
            action: Action = "install" if version.counter > revoked.counter else "rollback"
            deliveries = plan_deliveries(model, device, variant)
            return Decision("revoked", action, None, version, variant, 0, deliveries)
    return Decision("revoked", "pause")


def _targets(model: ModelView, revoked: Version, barrier: Version | None) -> list[Version]:
    """Return the versions that replace a revoked one, best first."""
    released, stopped = released_and_stopped(model)
    targets = [
        version
        for version in model.versions.values()
        if not version.revoked
        and version.counter >= revoked.floor
        and (barrier is None or version.counter <= barrier.counter)
        and (version.id in released or (version.counter < revoked.counter and version.id not in stopped))
    ]
    return sorted(targets, key=lambda version: (version.id in released, version.counter), reverse=True)
