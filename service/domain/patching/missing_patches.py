"""Patches that a poll could have used and that do not exist yet."""

from service.domain.catalog import ModelView
from service.domain.polling.decisions import Decision, DeviceContext
from service.domain.polling.deliveries import files_on_device

MIN_PATCHED_BYTES = 2**20
"""A smaller file is downloaded faster than a patch for it is built."""


def missing_patches(
    model: ModelView, device: DeviceContext, decision: Decision, patch_format: str
) -> list[tuple[str, str]]:
    """Return the pairs (source, target) whose patches would save the device a full download.

    Sources are files that this server knows, so that a made-up digest requests nothing.

    Args:
        model: the model.
        device: the device.
        decision: the decision on its poll.
        patch_format: the format in which patches are built.
    """
    if patch_format not in device.accepts or not decision.offered:
        return []
    sources = files_on_device(model, device)
    pairs = [
        (sources[item.component.name], item.component.sha256)
        for item in decision.deliveries
        if not item.keep
        and not item.patches
        and item.component.size >= MIN_PATCHED_BYTES
        and sources.get(item.component.name) in model.blobs
    ]
    return [pair for pair in pairs if pair not in model.patches and pair not in model.not_worth_building]
