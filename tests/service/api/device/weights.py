"""Weights of two versions that are worth a patch."""

from tests.workers.delta.layouts.writers import safetensors

OLD = safetensors({"w": ("I8", [20_000], bytes(range(250)) * 80)})

NEW = safetensors({"w": ("I8", [20_000], bytes(range(250)) * 79 + bytes(250))})
