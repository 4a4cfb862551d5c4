"""Which patches are worth building when a version becomes ready."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A component's bytes, by what they are, and the build that they belong to."""

    name: str
    sha256: str
    size: int
    variant: str = "default"


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """An earlier version.

    Attributes:
        files: all components of all its variants.
        devices: how many devices run it.
    """

    label: str
    files: Sequence[File]
    devices: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A patch to build."""

    source: str
    target: str


def plan(target: Sequence[File], bases: Sequence[Base], *, limit: int) -> list[Pair]:
    """Pairs in the order in which they save the most bytes.

    Args:
        target: the new version's files.
        bases: earlier versions, newest first; the newest counts even before any device runs it.
        limit: at most so many bases.
    """
    gain: dict[Pair, int] = {}
    chosen = sorted(bases, key=lambda base: base.devices, reverse=True)
    for base in list(dict.fromkeys([*bases[:1], *chosen]))[:limit]:
        _add_gains(gain, target, base)
    return sorted(gain, key=lambda pair: (-gain[pair], pair.source, pair.target))


def _add_gains(gain: dict[Pair, int], target: Sequence[File], base: Base) -> None:
    held = {file.sha256 for file in base.files}
    for file in target:
        if file.sha256 in held:
            continue
        for source in forerunners(file, base):
            pair = Pair(source.sha256, file.sha256)
            gain[pair] = gain.get(pair, 0) + file.size * max(1, base.devices)


def forerunners(file: File, base: Base) -> list[File]:
    """The base's files of that name: of the same build where it has one, for int4 says nothing about int8."""
    named = [source for source in base.files if source.name == file.name]
    return [source for source in named if source.variant == file.variant] or named
