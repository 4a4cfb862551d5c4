"""Cohort rules and variant selectors: JSON rules over device attributes, compiled into predicates.

A rule is compiled once and evaluated at every poll. A missing attribute never matches. Unknown operators are
refused when the rule is written, not when a device polls.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from service.domain.targeting import semver
from service.errors import InvalidRule

Attributes = Mapping[str, Any]
Predicate = Callable[[str, Attributes], bool]
"""(device id, attributes) -> whether the device matches; see `deciding_attributes`."""

MAX_DEPTH = 8
MAX_CLAUSES = 500
MAX_CACHED_VERSION_LENGTH = 64
"""Longest version text that is kept after it was parsed: the text comes from devices."""
_MISSING = object()
_SCALAR = (str, int, float, bool)


def compile_rule(
    rule: Any, cohorts: Mapping[str, Predicate] | None = None, *, path: str = "rule"
) -> Predicate:
    """Compile a rule into a predicate.

    Args:
        rule: JSON: `all`, `any`, `not`, `{"attr", operator}` or `{"cohort": name}`; `{}` matches every device.
        cohorts: predicates of the cohorts that `{"cohort": name}` may name.
        path: where the rule stands in the request, for the error's `field`.

    Raises:
        InvalidRule: the rule is malformed; `field` is the path of the fault.
    """
    return _Compiler(cohorts or {}).compile(rule, path, 0)


def deciding_attributes(predicate: Predicate) -> frozenset[str] | None:
    """Return the attributes that alone decide a predicate; None if the device id counts too or it is unknown."""
    return getattr(predicate, "attributes", None)


def _decided_by(attributes: frozenset[str] | None, predicate: Predicate) -> Predicate:
    predicate.attributes = attributes  # type: ignore[attr-defined]  # functions accept attributes
    return predicate


class _Compiler:
    def __init__(self, cohorts: Mapping[str, Predicate]) -> None:
        self._cohorts = cohorts
        self._clauses = 0

    def compile(self, rule: Any, path: str, depth: int) -> Predicate:
        self._clauses += 1
        if depth > MAX_DEPTH or self._clauses > MAX_CLAUSES:
            raise InvalidRule(
                f"a rule has at most {MAX_DEPTH} levels and {MAX_CLAUSES} clauses; move a part of it to another cohort",
                field=path,
            )
        if not isinstance(rule, dict):
            raise InvalidRule("a rule must be a JSON object", field=path)
        if not rule:
            return _every_device
        if "attr" in rule:
            return _compile_attribute(rule, path)
        if len(rule) != 1:
            raise InvalidRule(
                f"a rule must have exactly one of all, any, not, cohort and attr, not {sorted(rule)}",
                field=path,
            )
        keyword, value = next(iter(rule.items()))
        return self._combine(keyword, value, f"{path}.{keyword}", depth + 1)

    def _combine(self, keyword: str, value: Any, path: str, depth: int) -> Predicate:
        if keyword in ("all", "any"):
            return _join(keyword, self._children(value, path, depth))
        if keyword == "not":
            inner = self.compile(value, path, depth)
            return _decided_by(
                deciding_attributes(inner), lambda device_id, attributes: not inner(device_id, attributes)
            )
        if keyword == "cohort":
            return self._cohort(value, path)
        raise InvalidRule(f"unknown keyword {keyword!r}; use all, any, not, cohort or attr", field=path)

    def _children(self, value: Any, path: str, depth: int) -> list[Predicate]:
        if not isinstance(value, list) or not value:
            raise InvalidRule("this must be a list of at least one rule", field=path)
        return [self.compile(child, f"{path}.{index}", depth) for index, child in enumerate(value)]

    def _cohort(self, name: Any, path: str) -> Predicate:
        if not isinstance(name, str) or name not in self._cohorts:
            raise InvalidRule(f"there is no cohort {name!r}; create it first", field=path)
        return self._cohorts[name]


def _every_device(_device_id: str, _attributes: Attributes) -> bool:
    return True


_decided_by(frozenset(), _every_device)


def _join(keyword: str, children: list[Predicate]) -> Predicate:
    decisive = keyword == "any"

    # A loop instead of any() or all(): creating a generator costs more than most rules.
    def joined(device_id: str, attributes: Attributes) -> bool:
        for child in children:
            if child(device_id, attributes) is decisive:
                return decisive
        return not decisive

    parts = [deciding_attributes(child) for child in children]
    unknown = None in parts
    return _decided_by(None if unknown else frozenset().union(*(names or () for names in parts)), joined)


def _compile_attribute(rule: dict[str, Any], path: str) -> Predicate:
    name = rule["attr"]
    operators = [key for key in rule if key != "attr"]
    if not isinstance(name, str) or not name:
        raise InvalidRule("attr must be the name of an attribute", field=f"{path}.attr")
    if len(operators) != 1 or operators[0] not in _OPERATORS:
        raise InvalidRule(f"attr needs one operator; use exactly one of {', '.join(_OPERATORS)}", field=path)
    operator = operators[0]
    test = _OPERATORS[operator](rule[operator], f"{path}.{operator}")

    def matches(_device_id: str, attributes: Attributes) -> bool:
        value = attributes.get(name, _MISSING)
        return value is not _MISSING and test(value)

    if operator == "exists" and rule[operator] is False:
        return _decided_by(frozenset({name}), lambda _device_id, attributes: name not in attributes)
    return _decided_by(frozenset({name}), matches)


Test = Callable[[Any], bool]


def _equals(value: Any, path: str) -> Test:
    _require_scalar(value, path)
    return lambda actual: _same(actual, value)


def _differs(value: Any, path: str) -> Test:
    _require_scalar(value, path)
    return lambda actual: not _same(actual, value)


def _one_of(values: Any, path: str) -> Test:
    if not isinstance(values, list) or not 0 < len(values) <= 1000:
        raise InvalidRule("this must be a list of 1 to 1,000 values", field=path)
    for index, value in enumerate(values):
        _require_scalar(value, f"{path}.{index}")
    allowed = frozenset((isinstance(value, bool), value) for value in values)
    return lambda actual: isinstance(actual, _SCALAR) and (isinstance(actual, bool), actual) in allowed


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Any, str], Test]:
    def compile_comparison(value: Any, path: str) -> Test:
        if not _is_number(value):
            raise InvalidRule("this must be a number", field=path)
        return lambda actual: _is_number(actual) and compare(actual, value)

    return compile_comparison


def _in_version_range(value: Any, path: str) -> Test:
    if not isinstance(value, str):
        raise InvalidRule("this must be a version range, for example '>=5.2'", field=path)
    try:
        test = semver.compile_range(value)
    except ValueError as error:
        raise InvalidRule(str(error), field=path) from error

    def matches(actual: Any) -> bool:
        try:
            return isinstance(actual, str) and test(_version(actual))
        except ValueError:
            return False

    return matches


def _version(text: str) -> semver.Version:
    return _cached_version(text) if len(text) <= MAX_CACHED_VERSION_LENGTH else semver.Version(text)


@lru_cache(maxsize=4096)
def _cached_version(text: str) -> semver.Version:
    """A fleet has few versions of its app, and every poll compares one."""
    return semver.Version(text)


def _starts_with(value: Any, path: str) -> Test:
    if not isinstance(value, str):
        raise InvalidRule("this must be a string", field=path)
    return lambda actual: isinstance(actual, str) and actual.startswith(value)


def _exists(value: Any, path: str) -> Test:
    if not isinstance(value, bool):
        raise InvalidRule("this must be true or false", field=path)
    return lambda _actual: True


_OPERATORS: dict[str, Callable[[Any, str], Test]] = {
    "in": _one_of,
    "eq": _equals,
    "ne": _differs,
    "gte": _comparison(lambda actual, value: actual >= value),
    "lte": _comparison(lambda actual, value: actual <= value),
    "gt": _comparison(lambda actual, value: actual > value),
    "lt": _comparison(lambda actual, value: actual < value),
    "semver": _in_version_range,
    "prefix": _starts_with,
    "exists": _exists,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(actual: Any, value: Any) -> bool:
    """Whether two values are equal and of one kind: `true` is not 1."""
    return isinstance(actual, bool) == isinstance(value, bool) and bool(actual == value)


def _require_scalar(value: Any, path: str) -> None:
    if not isinstance(value, _SCALAR):
        raise InvalidRule("this must be a string, a number, true or false", field=path)
