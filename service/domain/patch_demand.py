"""Patches that a poll could have used, and that nobody has made yet."""

from service.domain.catalogue import Line
from service.domain.decisions import Decision, Facts
from service.domain.deliveries import sources_of

LEAST_BYTES = 2**20
"""A smaller file is on the device before a patch of it is made."""


def missing(line: Line, facts: Facts, decision: Decision, patch_format: str) -> list[tuple[str, str]]:
    """Pairs (source, target) that would spare the device a full file.

    Only from files that this server knows: a digest that a device makes up asks for nothing.

    Args:
        line: the model.
        facts: the device.
        decision: what it is offered.
        patch_format: the format in which patches are made.
    """
    if patch_format not in facts.accepts or not decision.offered:
        return []
    held = sources_of(line, facts)
    pairs = [
        (held[item.component.name], item.component.sha256)
        for item in decision.deliveries
        if not item.keep
        and not item.patches
        and item.component.size >= LEAST_BYTES
        and held.get(item.component.name) in line.blobs
    ]
    return [pair for pair in pairs if pair not in line.patches and pair not in line.hopeless]
