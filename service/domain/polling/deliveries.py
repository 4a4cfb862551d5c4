"""How a version gets to a device: which variant, which components, and how each of them is downloaded."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from service.domain.catalog import Component, ModelView, Patch, Variant, Version
from service.domain.polling.decisions import Delivery, DeviceContext


def choose_variant(version: Version, device: DeviceContext) -> Variant | None:
    """Return the matching variant of highest priority; None if no variant matches the device."""
    for variant in version.variants:
        if variant.matches(device.device_id, device.attributes):
            return variant
    return None


def wanted_components(variant: Variant, device: DeviceContext) -> Sequence[Component]:
    """Return the components of a variant that the device wants."""
    if device.wanted_components is None:
        return variant.components
    return [part for part in variant.components if part.name in device.wanted_components]


def files_on_device(model: ModelView, device: DeviceContext) -> Mapping[str, str]:
    """Return component name -> SHA-256 of what the device has: as it reports, else as its version says."""
    if device.components:
        return device.components
    current = model.versions.get(device.current or "")
    variant = choose_variant(current, device) if current else None
    return {part.name: part.sha256 for part in variant.components} if variant else {}


def plan_deliveries(model: ModelView, device: DeviceContext, variant: Variant) -> tuple[Delivery, ...]:
    """Return the delivery of each component that the device wants."""
    sources = files_on_device(model, device)
    on_device = set(sources.values())
    # A list instead of a generator: this runs at every offer, and a list is faster.
    return tuple(
        [
            _deliver(model, sources, on_device, part, device.accepts)
            for part in wanted_components(variant, device)
        ]
    )


def should_wait_for_patch(
    model: ModelView, device: DeviceContext, deliveries: Sequence[Delivery], since: datetime
) -> bool:
    """Return whether a full download should wait, because a patch that the device can apply is being built.

    Args:
        model: the model.
        device: the device.
        deliveries: the deliveries as they would be now.
        since: patches that were requested earlier are not waited for.
    """
    full = [item.component for item in deliveries if not item.keep and not item.patches]
    sources = files_on_device(model, device) if full else {}
    return any(
        patch.created_at > since and patch.format in device.accepts
        for component in full
        for patch in _patches(model, sources, component)
    )


def _deliver(
    model: ModelView,
    sources: Mapping[str, str],
    on_device: set[str],
    component: Component,
    accepts: tuple[str, ...],
) -> Delivery:
    if component.sha256 in on_device:
        return Delivery(component, keep=True)
    patches = [
        patch for patch in _patches(model, sources, component) if patch.sha256 and patch.format in accepts
    ]
    if len(patches) > 1:
        patches.sort(key=lambda patch: accepts.index(patch.format))
    return Delivery(component, keep=False, patches=tuple(patches))


def _patches(model: ModelView, sources: Mapping[str, str], component: Component) -> Sequence[Patch]:
    source = sources.get(component.name)
    return model.patches.get((source, component.sha256), ()) if source else ()
