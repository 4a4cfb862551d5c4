"""What each patch to a version is worth, and which are made: devices times bytes saved, as the census has it.

A device applies one patch to the file that it has; the contract knows no chains, since what lies between two patches
would be vouched for by no manifest. So what would be a chain elsewhere is a direct patch here: the server has all bases.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from service.domain.patch_plan import Base, File, Pair, forerunners

TYPICAL = 0.3
"""Share of the full file that a patch has where none has been made to this version yet."""
TRIED = frozenset({"queued", "ready", "not_worth_it", "failed"})

FEW = 0.01
"""A base that a smaller share of the fleet runs gets a patch once a poll misses it."""

Why = Literal["made", "asked", "census", "nobody", "few", "limit", "not_worth_it", "failed", "being_made"]
"""What came of a pair: `made`, `being_made`, `not_worth_it`, `failed`. To be made, since many devices run it or one has
asked: `census`, `asked`. Not made: `nobody` runs it, `few` run it, others save more (`limit`)."""


@dataclass(frozen=True, slots=True)
class Made:
    """What has come of a pair.

    Attributes:
        state: of its row.
        size: of the patch, once there is one.
    """

    state: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A pair and its worth.

    Attributes:
        component, variant: of the target.
        bases: labels of the versions that have the source.
        devices: that run one of them.
        asked: how often polls have missed it.
        full_size: of the target file.
        patch_size: real once it is made, else estimated.
        state: of its row; None where there is none.
        why: why it is made, or is not.
    """

    pair: Pair
    component: str
    variant: str
    full_size: int
    patch_size: int
    bases: tuple[str, ...] = ()
    devices: int = 0
    asked: int = 0
    estimated: bool = True
    state: str | None = None
    why: Why = "nobody"

    @property
    def saved(self) -> int:
        """Bytes that the fleet does not download; each poll that missed it counts for a device."""
        return max(self.devices, self.asked) * max(0, self.full_size - self.patch_size)

    @property
    def wanted(self) -> bool:
        """Whether it is to be asked for now."""
        return self.why in ("census", "asked")


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known of the pairs to one version.

    Attributes:
        made: what has come of each pair.
        asked: how often polls have missed each.
    """

    made: Mapping[Pair, Made] = field(default_factory=dict)
    asked: Mapping[Pair, int] = field(default_factory=dict)


def weigh(target: Sequence[File], bases: Sequence[Base], demand: Demand, *, limit: int) -> list[Entry]:
    """Every pair that leads to a version, the most valuable first, and what is to become of it.

    Args:
        target: the version's files.
        bases: versions that devices may run.
        demand: what has been made and asked for.
        limit: so many patches to one version are made at most, those that came to nothing included.
    """
    entries = _entries(target, bases, demand)
    ratio = _usual_ratio(entries)
    guessed = [
        replace(entry, patch_size=round(ratio * entry.full_size)) if entry.estimated else entry
        for entry in entries
    ]
    ordered = sorted(guessed, key=lambda entry: (-entry.saved, entry.pair.source, entry.pair.target))
    room = limit - sum(entry.state in TRIED for entry in ordered)
    many = FEW * sum(base.devices for base in bases)
    found = []
    for entry in ordered:
        why = _why(entry, room, many)
        room -= why in ("census", "asked")
        found.append(replace(entry, why=why))
    return found


def unused(
    patches: Sequence[Pair], *, run: Collection[str], offered: Collection[str], under_way: Collection[str]
) -> list[Pair]:
    """Patches that nobody can want any more.

    Kept is what starts from a file that devices run, what leads to a file on offer or under way to somebody, and what
    leads back from a file on offer: that is a rollback's way.

    Args:
        patches: those that are served.
        run: digests of files of versions that devices run.
        offered: of versions that a rollout gives out, or may yet.
        under_way: of versions to which there are open attempts.
    """
    return [
        pair
        for pair in patches
        if pair.source not in run
        and pair.source not in offered
        and pair.target not in offered
        and pair.target not in under_way
    ]


def _entries(target: Sequence[File], bases: Sequence[Base], demand: Demand) -> list[Entry]:
    found: dict[Pair, Entry] = {}
    for file in target:
        for pair in demand.asked:
            if pair.target == file.sha256 and pair not in found:
                found[pair] = _entry(file, pair, demand)
        for base in bases:
            if file.sha256 in {held.sha256 for held in base.files}:
                continue
            for source in forerunners(file, base):
                pair = Pair(source.sha256, file.sha256)
                entry = found.get(pair) or _entry(file, pair, demand)
                if base.label not in entry.bases:
                    entry = replace(
                        entry, bases=(*entry.bases, base.label), devices=entry.devices + base.devices
                    )
                found[pair] = entry
    return list(found.values())


def _entry(file: File, pair: Pair, demand: Demand) -> Entry:
    made = demand.made.get(pair)
    real = made.size if made is not None else None
    return Entry(
        pair=pair,
        component=file.name,
        variant=file.variant,
        full_size=file.size,
        patch_size=real or 0,
        asked=demand.asked.get(pair, 0),
        estimated=real is None,
        state=made.state if made is not None else None,
    )


def _usual_ratio(entries: Sequence[Entry]) -> float:
    ratios = [
        entry.patch_size / entry.full_size for entry in entries if not entry.estimated and entry.full_size
    ]
    return median(ratios) if ratios else TYPICAL


def _why(entry: Entry, room: int, many: float) -> Why:
    known: Mapping[str, Why] = {
        "ready": "made",
        "queued": "being_made",
        "not_worth_it": "not_worth_it",
        "failed": "failed",
    }
    if entry.state is not None and entry.state in known:
        return known[entry.state]
    if not entry.devices and not entry.asked:
        return "nobody"
    if not entry.asked and entry.devices < many:
        return "few"
    if room <= 0:
        return "limit"
    return "asked" if entry.asked else "census"
