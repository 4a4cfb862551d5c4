"""How a version gets to a device: which build, which of its files, and each of them by which way."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from service.domain.catalogue import Component, Line, Patch, Variant, Version
from service.domain.decisions import Delivery, Facts


def choose_variant(version: Version, facts: Facts) -> Variant | None:
    """The build for this class of device: the highest priority that matches."""
    for variant in version.variants:
        if variant.matches(facts.device_id, facts.attributes):
            return variant
    return None


def wanted(variant: Variant, facts: Facts) -> Sequence[Component]:
    """The files of a build that the device asks for."""
    if facts.modules is None:
        return variant.components
    return [part for part in variant.components if part.name in facts.modules]


def sources_of(line: Line, facts: Facts) -> Mapping[str, str]:
    """Component name -> digest of what the device has; from its own list, else from the version it names."""
    if facts.components:
        return facts.components
    current = line.versions.get(facts.current or "")
    variant = choose_variant(current, facts) if current else None
    return {part.name: part.sha256 for part in variant.components} if variant else {}


def deliveries(line: Line, facts: Facts, variant: Variant) -> tuple[Delivery, ...]:
    """The way of each file that the device wants."""
    sources = sources_of(line, facts)
    held = set(sources.values())
    return tuple([_deliver(line, sources, held, part, facts.accepts) for part in wanted(variant, facts)])


def worth_waiting(line: Line, facts: Facts, made: Sequence[Delivery], since: datetime) -> bool:
    """Whether it pays to come back: of a file the only patches that the device could use are being made.

    Args:
        line: the model.
        facts: the device.
        made: its deliveries as things stand.
        since: patches that were asked for earlier have been waited for long enough.
    """
    whole = [item.component for item in made if not item.keep and not item.patches]
    sources = sources_of(line, facts) if whole else {}
    return any(
        way.created_at > since and way.format in facts.accepts
        for part in whole
        for way in _patches(line, sources, part)
    )


def _deliver(
    line: Line, sources: Mapping[str, str], held: set[str], part: Component, accepts: tuple[str, ...]
) -> Delivery:
    if part.sha256 in held:
        return Delivery(part, keep=True)
    ready = [way for way in _patches(line, sources, part) if way.sha256 and way.format in accepts]
    if len(ready) > 1:
        ready.sort(key=lambda way: accepts.index(way.format))
    return Delivery(part, keep=False, patches=tuple(ready))


def _patches(line: Line, sources: Mapping[str, str], part: Component) -> Sequence[Patch]:
    source = sources.get(part.name)
    return line.patches.get((source, part.sha256), ()) if source else ()
