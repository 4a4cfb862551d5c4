"""Which devices a rule means, and which bucket a device is in.

A rule is compiled once into a closure and then asked for every poll. A missing attribute never
matches; an unknown operator is refused when the rule is written, not when a device polls.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from service.domain import semver
from service.errors import InvalidRule

Attributes = Mapping[str, Any]
Predicate = Callable[[str, Attributes], bool]
"""(device id, attributes) -> does the device belong? See `decided_by`."""

BUCKETS = 10_000
MAX_DEPTH = 8
MAX_CLAUSES = 500
MAX_KEPT_VERSION = 64
"""Longest text of a version that is kept once it has been read: devices write them."""
_MISSING = object()
_SCALAR = (str, int, float, bool)


def salt_of(name: str) -> str:
    """The salt of the rollout of that name: known before it is written down, so that a preview lists its devices."""
    return hashlib.sha256(b"graylag rollout\0" + name.encode()).hexdigest()[:32]


def bucket(salt: str, device_id: str) -> int:
    """0..9999, the same for ever for a device and a rollout: first 8 bytes of a SHA-256, big-endian, modulo."""
    return place_of(seed_of(salt), device_id.encode())


def place_of(seed: bytes, device: bytes) -> int:
    """The same for many rollouts and one device: `seed_of` its salt, and the bytes of its id."""
    return int.from_bytes(hashlib.sha256(seed + device).digest()[:8]) % BUCKETS


def seed_of(salt: str) -> bytes:
    """What is hashed before the device's id."""
    return salt.encode() + b"\0"


def in_percent(salt: str, device_id: str, percent: float) -> bool:
    """Whether a device is in the first `percent` of the buckets; true for ever as `percent` grows."""
    return admits(percent, bucket(salt, device_id))


def admits(percent: float, place: int) -> bool:
    """Whether `percent` reaches the bucket `place`: 0.01 % is one bucket, 100 % are all of them."""
    return place < limit_of(percent)


def limit_of(percent: float) -> float:
    """The first bucket that `percent` does not reach."""
    # 1.1 * 100 is a little more than 110 in binary, which would let a 111th bucket in.
    return round(percent * 100, 6)


def compile_rule(
    rule: Any, cohorts: Mapping[str, Predicate] | None = None, *, path: str = "rule"
) -> Predicate:
    """A predicate for a rule.

    Args:
        rule: JSON as in DESIGN: `all any not`, `{"attr", operator}`, `{"cohort": name}`; `{}` matches all.
        cohorts: predicates that `{"cohort": name}` may name.
        path: where the rule stands in the request, for `field`.

    Raises:
        InvalidRule: the rule cannot be read; `field` is the path to the fault.
    """
    return _Compiler(cohorts or {}).compile(rule, path, 0)


def decided_by(predicate: Predicate) -> frozenset[str] | None:
    """The attributes that alone decide; None where the device itself counts too, or nobody knows."""
    return getattr(predicate, "attributes", None)


def _deciding(predicate: Predicate, attributes: frozenset[str] | None) -> Predicate:
    predicate.attributes = attributes  # type: ignore[attr-defined]  # functions have room for it
    return predicate


class _Compiler:
    def __init__(self, cohorts: Mapping[str, Predicate]) -> None:
        self._cohorts = cohorts
        self._clauses = 0

    def compile(self, rule: Any, path: str, depth: int) -> Predicate:
        self._clauses += 1
        if depth > MAX_DEPTH or self._clauses > MAX_CLAUSES:
            raise InvalidRule(f"deeper than {MAX_DEPTH} or more than {MAX_CLAUSES} clauses", field=path)
        if not isinstance(rule, dict):
            raise InvalidRule("a rule is an object", field=path)
        if not rule:
            return _everyone
        if "attr" in rule:
            return _compile_attribute(rule, path)
        if len(rule) != 1:
            raise InvalidRule(f"one of all, any, not, cohort, attr; not {sorted(rule)}", field=path)
        keyword, value = next(iter(rule.items()))
        return self._combine(keyword, value, f"{path}.{keyword}", depth + 1)

    def _combine(self, keyword: str, value: Any, path: str, depth: int) -> Predicate:
        if keyword in ("all", "any"):
            return _join(keyword, self._children(value, path, depth))
        if keyword == "not":
            inner = self.compile(value, path, depth)
            return _deciding(
                lambda device_id, attributes: not inner(device_id, attributes), decided_by(inner)
            )
        if keyword == "cohort":
            return self._named(value, path)
        raise InvalidRule(f"unknown keyword {keyword!r}; use all, any, not, cohort or attr", field=path)

    def _children(self, value: Any, path: str, depth: int) -> list[Predicate]:
        if not isinstance(value, list) or not value:
            raise InvalidRule("a list of at least one rule", field=path)
        return [self.compile(child, f"{path}.{index}", depth) for index, child in enumerate(value)]

    def _named(self, name: Any, path: str) -> Predicate:
        if not isinstance(name, str) or name not in self._cohorts:
            raise InvalidRule(f"there is no cohort {name!r}", field=path)
        return self._cohorts[name]


def _everyone(_device_id: str, _attributes: Attributes) -> bool:
    return True


_deciding(_everyone, frozenset())


def _join(keyword: str, children: list[Predicate]) -> Predicate:
    decisive = keyword == "any"

    # A loop and not any() or all(): making a generator costs more than most rules.
    def joined(device_id: str, attributes: Attributes) -> bool:
        for child in children:
            if child(device_id, attributes) is decisive:
                return decisive
        return not decisive

    known = [decided_by(child) for child in children]
    return _deciding(joined, None if None in known else frozenset().union(*(names or () for names in known)))


def _compile_attribute(rule: dict[str, Any], path: str) -> Predicate:
    name = rule["attr"]
    operators = [key for key in rule if key != "attr"]
    if not isinstance(name, str) or not name:
        raise InvalidRule("the name of an attribute", field=f"{path}.attr")
    if len(operators) != 1 or operators[0] not in _OPERATORS:
        raise InvalidRule(f"attr and exactly one of {', '.join(_OPERATORS)}", field=path)
    operator = operators[0]
    test = _OPERATORS[operator](rule[operator], f"{path}.{operator}")

    def matches(_device_id: str, attributes: Attributes) -> bool:
        value = attributes.get(name, _MISSING)
        return value is not _MISSING and test(value)

    if operator == "exists" and rule[operator] is False:
        return _deciding(lambda _device_id, attributes: name not in attributes, frozenset({name}))
    return _deciding(matches, frozenset({name}))


Test = Callable[[Any], bool]


def _equal(value: Any, path: str) -> Test:
    _require_scalar(value, path)
    return lambda actual: _same(actual, value)


def _different(value: Any, path: str) -> Test:
    _require_scalar(value, path)
    return lambda actual: not _same(actual, value)


def _within(values: Any, path: str) -> Test:
    if not isinstance(values, list) or not 0 < len(values) <= 1000:
        raise InvalidRule("a list of 1 to 1000 values", field=path)
    for index, value in enumerate(values):
        _require_scalar(value, f"{path}.{index}")
    kinds = frozenset((isinstance(value, bool), value) for value in values)
    return lambda actual: isinstance(actual, _SCALAR) and (isinstance(actual, bool), actual) in kinds


def _compare(order: Callable[[Any, Any], bool]) -> Callable[[Any, str], Test]:
    def compile_comparison(value: Any, path: str) -> Test:
        if not _is_number(value):
            raise InvalidRule("a number", field=path)
        return lambda actual: _is_number(actual) and order(actual, value)

    return compile_comparison


def _in_range(value: Any, path: str) -> Test:
    if not isinstance(value, str):
        raise InvalidRule("a version range, for example '>=5.2'", field=path)
    try:
        test = semver.compile_range(value)
    except ValueError as error:
        raise InvalidRule(str(error), field=path) from error

    def matches(actual: Any) -> bool:
        try:
            if not isinstance(actual, str):
                return False
            return test(_version(actual) if len(actual) <= MAX_KEPT_VERSION else semver.Version(actual))
        except ValueError:
            return False

    return matches


@lru_cache(maxsize=4096)
def _version(text: str) -> semver.Version:
    """A fleet has few versions of its app, and each of them is asked about in every poll."""
    return semver.Version(text)


def _starts_with(value: Any, path: str) -> Test:
    if not isinstance(value, str):
        raise InvalidRule("a string", field=path)
    return lambda actual: isinstance(actual, str) and actual.startswith(value)


def _exists(value: Any, path: str) -> Test:
    if not isinstance(value, bool):
        raise InvalidRule("true or false", field=path)
    return lambda _actual: True


_OPERATORS: dict[str, Callable[[Any, str], Test]] = {
    "in": _within,
    "eq": _equal,
    "ne": _different,
    "gte": _compare(lambda actual, value: actual >= value),
    "lte": _compare(lambda actual, value: actual <= value),
    "gt": _compare(lambda actual, value: actual > value),
    "lt": _compare(lambda actual, value: actual < value),
    "semver": _in_range,
    "prefix": _starts_with,
    "exists": _exists,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(actual: Any, value: Any) -> bool:
    """Equal, and of one kind: `true` is not 1."""
    return isinstance(actual, bool) == isinstance(value, bool) and bool(actual == value)


def _require_scalar(value: Any, path: str) -> None:
    if not isinstance(value, _SCALAR):
        raise InvalidRule("a string, a number, true or false", field=path)
