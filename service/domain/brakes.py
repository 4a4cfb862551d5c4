"""Is a stage doing well enough to go on, and is one class of device to be left behind?

Of the 5 % of good rollouts that may ever be stopped or held by mistake, four go to the whole and one is
shared by all strata, each in equal parts for its gates.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from service.domain import evidence
from service.domain.findings import Block, Finding, Says, Tally, examine
from service.domain.gates import AnyGate, Hold, MeasureGate
from service.domain.measures import Compared
from service.domain.strata import MAX_STRATA

Outcome = Literal["advance", "hold", "breach"]

ALPHA_WHOLE = 0.04
ALPHA_STRATA = 0.01
ALPHA_SHARES = 0.01
"""Chance that a comparison is ever held because devices seem to be divided wrongly; nothing is stopped by it."""
APPROVAL = "approval"
"""The cause of a verdict when nothing but a person's word is missing."""
ENOUGH_LEFT = 20
"""Reports of other strata that have to vouch for the version before one is blamed instead of it."""


_GRAVE: tuple[Says, ...] = ("breach", "doubts")


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage that is looked at: its number, its bounds, how long it has been running."""

    index: int
    gates: Sequence[AnyGate]
    hold: Hold
    age: timedelta


@dataclass(frozen=True, slots=True)
class Seen:
    """All that has come back from devices.

    Attributes:
        outcomes: (stage, stratum) -> what became of its attempts.
        values: metric -> (cohort, stratum) -> what was measured.
        shares: chance to be let in -> devices that were, and that were not, among those that measure.
    """

    outcomes: Mapping[tuple[int, str], Tally] = field(default_factory=dict)
    values: Mapping[str, Mapping[Block, Compared]] = field(default_factory=dict)
    shares: Mapping[float, tuple[int, int]] = field(default_factory=dict)

    @property
    def strata(self) -> set[str]:
        """Every stratum from which outcomes have come."""
        return {stratum for (_, stratum), tally in self.outcomes.items() if tally.reports}

    def total(self, *, stage: int | None = None) -> Tally:
        """Outcomes of one stage, or of all."""
        return _sum(tally for (index, _), tally in self.outcomes.items() if stage in (None, index))

    def without(self, strata: Collection[str]) -> "Seen":
        """What came from all other strata; the shares stay as they are."""
        values = {
            metric: {block: seen for block, seen in blocks.items() if block[1] not in strata}
            for metric, blocks in self.values.items()
        }
        kept = {key: tally for key, tally in self.outcomes.items() if key[1] not in strata}
        return Seen(kept, values, self.shares)

    def apart(self) -> dict[str, "Seen"]:
        """Each stratum that has reported by itself."""
        outcomes: dict[str, dict[tuple[int, str], Tally]] = {name: {} for name in self.strata}
        values: dict[str, dict[str, dict[Block, Compared]]] = {name: {} for name in outcomes}
        for key, tally in self.outcomes.items():
            outcomes.get(key[1], {})[key] = tally
        for metric, blocks in self.values.items():
            for block, seen in blocks.items():
                values.get(block[1], {}).setdefault(metric, {})[block] = seen
        return {name: Seen(outcomes[name], values[name], self.shares) for name in sorted(outcomes)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gates say.

    Attributes:
        reason: the sentence that explains it.
        cause: a word for it that stays the same while counts grow: `gate:NAME`, `minutes`, `reports`, ...
        findings: what each gate said of the strata that are not held back.
        blamed: stratum -> why it is to be held back from now on.
        own: outcomes of the stage's own devices, those held back left out.
    """

    outcome: Outcome
    reason: str
    cause: str = ""
    findings: tuple[Finding, ...] = ()
    blamed: Mapping[str, Finding] = field(default_factory=dict)
    own: Tally = field(default_factory=Tally)


def judge(stage: Stage, seen: Seen, held: Collection[str] = ()) -> Verdict:
    """Look at a stage; looking often does no harm.

    A stratum is blamed when the evidence against it alone is convincing. When the whole is in breach, less will do,
    but what is left then must not even be in doubt. In both cases the rest has to be large enough to vouch for
    the version, or it is the version that is at fault.

    Args:
        stage: the stage and its bounds.
        seen: all that has come back; gates look at all stages together.
        held: strata that are held back already; their reports are left out.
    """
    rest = seen.without(held)
    blamed = _blame(stage, rest)
    vouched = not blamed or _vouched(seen, {*held, *blamed})
    if vouched:
        rest = rest.without(blamed)
    findings = _look(stage, rest, ALPHA_WHOLE)
    own = rest.total(stage=stage.index)
    guilty = [finding for finding in findings if finding.says == "breach"]
    if not vouched:
        guilty = guilty or list(blamed.values())
    if guilty:
        return Verdict("breach", _said(guilty[0]), f"gate:{guilty[0].metric}", findings, own=own)
    outcome, reason, cause = _ripe(stage, rest, own, findings)
    return Verdict(outcome, reason, cause, findings, blamed, own)


def _look(stage: Stage, seen: Seen, alpha: float, stratum: str = "") -> tuple[Finding, ...]:
    """Every gate of the stage, which share `alpha`."""
    total, each = seen.total(), alpha / max(len(stage.gates), 1)
    found = (examine(gate, total, seen.values.get(gate.metric, {}), each) for gate in stage.gates)
    return tuple(replace(finding, stratum=stratum) for finding in found)


def _blame(stage: Stage, seen: Seen) -> dict[str, Finding]:
    """The strata that are to be held back, with what speaks against them; none where there is but one."""
    if len(seen.strata) <= 1:
        return {}
    blamed = _convicted(stage, seen, ALPHA_STRATA / (MAX_STRATA + 1))
    if _worst(stage, seen) != "breach":
        return blamed
    # That something is wrong is certain; where it is needs less, but what is left must be beyond doubt.
    if _worst(stage, seen.without(blamed)) != "holds":
        blamed |= _convicted(stage, seen.without(blamed), evidence.ALPHA)
    return blamed if _worst(stage, seen.without(blamed)) == "holds" else {}


def _worst(stage: Stage, seen: Seen) -> Says:
    """The gravest of what the gates say; that one waits for data is no fault."""
    said = {finding.says for finding in _look(stage, seen, ALPHA_WHOLE)}
    return next((says for says in _GRAVE if says in said), "holds")


def _convicted(stage: Stage, seen: Seen, alpha: float) -> dict[str, Finding]:
    found = {}
    for stratum, own in seen.apart().items():
        findings = _look(stage, own, alpha, stratum)
        breach = next((finding for finding in findings if finding.says == "breach"), None)
        if breach is not None:
            found[stratum] = breach
    return found


def _vouched(seen: Seen, out: Collection[str]) -> bool:
    """Whether enough has come from the other strata: a version that fails most devices is at fault itself."""
    left = seen.without(out).total().reports
    return left >= max(ENOUGH_LEFT, seen.total().reports - left)


def _ripe(
    stage: Stage, seen: Seen, own: Tally, findings: Sequence[Finding]
) -> tuple[Outcome, str, str]:  # fmt: skip
    """Whether the stage may end: outcome, reason, cause."""
    hold = stage.hold
    waiting = (
        _first(findings, "doubts", ", not yet for certain"),
        (stage.age < timedelta(minutes=hold.minutes), f"{hold.minutes:g} minutes are not over", "minutes"),
        (own.reports < hold.reports, f"{own.reports} of {hold.reports} reports", "reports"),
        _first(findings, "waits", ""),
        (
            own.coverage < hold.min_coverage,
            f"{own.coverage:.1%} of the devices have reported, {hold.min_coverage:.0%} must have",
            "coverage",
        ),
        _uneven(stage, seen),
        (hold.approval, "waits for promote", APPROVAL),
    )
    for holds, reason, cause in waiting:
        if holds:
            return "hold", reason, cause
    return "advance", f"{own.reports} reports, all gates hold", "ripe"


def _first(findings: Sequence[Finding], says: str, more: str) -> tuple[bool, str, str]:
    found = next((finding for finding in findings if finding.says == says), None)
    return (True, found.said + more, f"{says}:{found.metric}") if found else (False, "", "")


def _uneven(stage: Stage, seen: Seen) -> tuple[bool, str, str]:
    """The sample ratio check: among devices that measure, as many have been let in as the percentages say.

    Asked only where control is compared with. Devices are counted by what the hash said of them, not by what
    they run: who is slow to update is no sign of anything, who falls silent after it is.
    """
    comparing = any(isinstance(gate, MeasureGate) and gate.control for gate in stage.gates)
    real = {share: counts for share, counts in seen.shares.items() if 0 < share < 1}
    found = sum(evidence.share_off(*counts, share) for share, counts in real.items())
    if not comparing or not evidence.convincing(found, ALPHA_SHARES):
        return False, "", ""
    inside, expected = sum(counts[0] for counts in real.values()), _expected(real)
    total = sum(map(sum, real.values()))
    reason = (
        f"{inside:,} of {total:,} devices that measure have been let in, about {expected:,.0f} should have"
    )
    return True, f"{reason}: do not trust the comparison", "sample_ratio"


def _expected(shares: Mapping[float, tuple[int, int]]) -> float:
    return sum(share * sum(counts) for share, counts in shares.items())


def _said(finding: Finding) -> str:
    return f"{finding.said} on {finding.stratum}" if finding.stratum else finding.said


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total = total.plus(tally)
    return total
