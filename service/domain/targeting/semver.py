"""Version ranges such as `>=5.2`, `^1.4`, `~2.0.3`, `>=1.2 <2` and `1.x || >=3`.

Precedence follows Semantic Versioning 2.0.0, section 11. Missing parts count as zero, because apps report "5.2".
"""

import re
from collections.abc import Callable
from functools import total_ordering

_VERSION = re.compile(
    r"^v?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?(?:-([0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]*)?$"
)
_WILDCARDS = frozenset({"x", "X", "*"})
_CLAUSE = re.compile(r"^(>=|<=|>|<|=|\^|~)?\s*(.+)$")

Test = Callable[["Version"], bool]


@total_ordering
class Version:
    """A version with the precedence of Semantic Versioning.

    Attributes:
        release: major, minor, patch.
        pre: pre-release identifiers; empty for a release.
    """

    __slots__ = ("_key", "pre", "release")

    def __init__(self, text: str) -> None:
        """Parse `text`.

        Raises:
            ValueError: the text is not a version.
        """
        found = _VERSION.match(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a version such as 1.4.2")
        self.release = (int(found[1]), int(found[2] or 0), int(found[3] or 0))
        self.pre = tuple(found[4].split(".")) if found[4] else ()
        # A release is above its pre-releases; numbers are below words (SemVer, section 11.4).
        self._key = (self.release, not self.pre, tuple(_identifier(part) for part in self.pre))

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same precedence."""
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: "Version") -> bool:
        """Return whether this version has the lower precedence."""
        return self._key < other._key

    def __hash__(self) -> int:
        """Hash equal versions alike."""
        return hash(self._key)


def compile_range(text: str) -> Test:
    """Compile a version range into a test.

    Raises:
        ValueError: the range is malformed; the message names the part.
    """
    alternatives = [[_compile_clause(clause) for clause in part.split()] for part in text.split("||")]
    if not all(alternatives):
        raise ValueError("a version range must not be empty")
    return lambda version: any(all(test(version) for test in clauses) for clauses in alternatives)


def _compile_clause(clause: str) -> Test:
    found = _CLAUSE.match(clause)
    if found is None:
        raise ValueError(f"{clause!r} is not a version range such as >=1.4")
    operator, rest = found[1] or "", found[2]
    core, dash, pre = rest.partition("+")[0].partition("-")
    parts = core.split(".")
    while parts and parts[-1] in _WILDCARDS:
        parts.pop()
    bound = Version(".".join(parts) + dash + pre if parts or dash else "0")
    if not operator and dash:
        operator = "="
    if operator in _COMPARE:
        return _COMPARE[operator](bound)
    return _between(bound, _ceiling(operator, bound, len(parts)))


_COMPARE: dict[str, Callable[[Version], Test]] = {
    ">=": lambda bound: lambda version: version >= bound,
    "<=": lambda bound: lambda version: version <= bound,
    ">": lambda bound: lambda version: version > bound,
    "<": lambda bound: lambda version: version < bound,
    "=": lambda bound: lambda version: version == bound,
}


def _ceiling(operator: str, bound: Version, given: int) -> tuple[int, int, int] | None:
    """Return the first release above the range; None if there is no ceiling."""
    major, minor, patch = bound.release
    if given == 0:
        return None
    if operator == "^":
        if major or given == 1:
            return (major + 1, 0, 0)
        return (0, minor + 1, 0) if minor or given == 2 else (0, 0, patch + 1)
    if operator == "~" or given < 3:
        return (major + 1, 0, 0) if given == 1 else (major, minor + 1, 0)
    return (major, minor, patch + 1)


def _between(bound: Version, ceiling: tuple[int, int, int] | None) -> Test:
    return lambda version: version >= bound and (ceiling is None or version.release < ceiling)


def _identifier(part: str) -> tuple[bool, int, str]:
    return (False, int(part), "") if part.isdigit() else (True, 0, part)
