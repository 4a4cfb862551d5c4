"""Finds changes of a schema that break clients or servers of an older contract.

- A request must stay acceptable: the new schema accepts every value that the old one accepts.
- A response must stay readable: the old schema accepts every value that the new one produces.
- No field may be removed.

The first two rules are the same check in two directions: whether every value of one schema, `produced`, is a value of
another schema, `accepted`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Schema = Mapping[str, Any]
Direction = Literal["request", "response"]
Visited = frozenset[tuple[int, int]]
"""Pairs of schemas that are being compared already; ends the recursion of circular references."""
_UPPER = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
_LOWER = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")
_METHODS = ("get", "post", "put", "patch", "delete")


def breaking_api_changes(old: Schema, new: Schema) -> list[str]:
    """Changes of an OpenAPI description that break a client written for `old`."""
    changes: list[str] = []
    for path, operations in old["paths"].items():
        for method in _METHODS:
            if method not in operations:
                continue
            location = f"{method.upper()} {path}"
            changed = new["paths"].get(path, {}).get(method)
            if changed is None:
                changes.append(f"{location}: removed")
            else:
                changes += _Operation(location, old, new).breaking_changes(operations[method], changed)
    return changes


def breaking_schema_changes(old: Schema, new: Schema, direction: Direction) -> list[str]:
    """Changes of a JSON Schema that break the other side, which was written for `old`.

    Args:
        old: with its own `$defs`, if it has any.
        new: likewise.
        direction: `request` from an old client to a new server, `response` (and documents) from a new server to an
            old client.
    """
    return _compare(_SchemaView(old, old), _SchemaView(new, new), direction, "")


@dataclass(slots=True)
class _Operation:
    """One operation of two OpenAPI descriptions."""

    location: str
    old_root: Schema
    new_root: Schema

    def breaking_changes(self, old: Schema, new: Schema) -> list[str]:
        changes = self._parameters(old, new)
        if new.get("security") and not old.get("security"):
            changes.append(f"{self.location}: now requires a credential")
        changes += self._contents(old.get("requestBody", {}), new.get("requestBody", {}), "request")
        if new.get("requestBody", {}).get("required") and not old.get("requestBody"):
            changes.append(f"{self.location}: now requires a body")
        for status, response in old["responses"].items():
            if status not in new["responses"]:
                changes.append(f"{self.location}: status {status} removed")
            else:
                changes += self._contents(response, new["responses"][status], "response", status)
        return changes

    def _contents(self, old: Schema, new: Schema, direction: Direction, name: str = "request") -> list[str]:
        changes: list[str] = []
        for media, content in old.get("content", {}).items():
            location = f"{self.location} {name}"
            if media not in new.get("content", {}):
                changes.append(f"{location}: {media} removed")
                continue
            schema = new["content"][media].get("schema", {})
            views = _SchemaView(content["schema"], self.old_root), _SchemaView(schema, self.new_root)
            changes += _compare(*views, direction, location)
        return changes

    def _parameters(self, old: Schema, new: Schema) -> list[str]:
        before = {entry["name"]: entry for entry in old.get("parameters", ())}
        after = {entry["name"]: entry for entry in new.get("parameters", ())}
        changes = [f"{self.location}: parameter {name} removed" for name in before.keys() - after.keys()]
        for name, entry in after.items():
            location = f"{self.location} {name}"
            if entry.get("required") and not before.get(name, {}).get("required"):
                changes.append(f"{location}: now required")
            if name in before:
                views = (
                    _SchemaView(before[name]["schema"], self.old_root),
                    _SchemaView(entry["schema"], self.new_root),
                )
                changes += _compare(*views, "request", location)
        return sorted(changes)


def _compare(old: "_SchemaView", new: "_SchemaView", direction: Direction, location: str) -> list[str]:
    removed = [f"{location}{path}: removed" for path in _removed_fields(old, new, frozenset(), "")]
    produced, accepted = (old, new) if direction == "request" else (new, old)
    return removed + [f"{location}{text}" for text in _violations(produced, accepted, frozenset(), "")]


@dataclass(frozen=True, slots=True)
class _SchemaView:
    """A schema, and the root document that its references point into."""

    raw: Any
    root: Schema = field(repr=False)

    @property
    def schema(self) -> Schema:
        """The schema with its references resolved."""
        resolved: Any = self.raw
        while isinstance(resolved, Mapping) and "$ref" in resolved:
            target: Any = self.root
            for part in resolved["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            resolved = target
        if resolved is False:
            return {"enum": []}
        return resolved if isinstance(resolved, Mapping) else {}

    def child(self, raw: Any) -> "_SchemaView":
        return _SchemaView(raw, self.root)

    @property
    def alternatives(self) -> "list[_SchemaView]":
        for keyword in ("anyOf", "oneOf"):
            if keyword in self.schema:
                return [self.child(entry) for entry in self.schema[keyword]]
        return [self]

    @property
    def types(self) -> frozenset[str]:
        named = self.schema.get("type", ())
        return frozenset((named,) if isinstance(named, str) else named)

    @property
    def values(self) -> list[Any] | None:
        if "const" in self.schema:
            return [self.schema["const"]]
        listed: list[Any] | None = self.schema.get("enum")
        return listed

    @property
    def additional(self) -> Any:
        return self.schema.get("additionalProperties", True)


def _removed_fields(old: _SchemaView, new: _SchemaView, visited: frozenset[int], path: str) -> Iterator[str]:
    """Paths of the fields that `old` has and `new` lacks."""
    if id(old.schema) in visited:
        return
    visited |= {id(old.schema)}
    fields = {name: view for alternative in new.alternatives for name, view in _children(alternative)}
    for alternative in old.alternatives:
        if alternative is not old and id(alternative.schema) in visited:
            continue
        for name, view in _children(alternative):
            if name in fields:
                yield from _removed_fields(view, fields[name], visited, path + name)
            elif not name.startswith("["):
                yield path + name


def _children(view: _SchemaView) -> Iterator[tuple[str, _SchemaView]]:
    for name, entry in view.schema.get("properties", {}).items():
        yield f".{name}", view.child(entry)
    if "items" in view.schema:
        yield "[]", view.child(view.schema["items"])
    if isinstance(view.additional, Mapping):
        yield "[*]", view.child(view.additional)
    for pattern, entry in view.schema.get("patternProperties", {}).items():
        yield f"[{pattern}]", view.child(entry)


def _violations(produced: _SchemaView, accepted: _SchemaView, visited: Visited, path: str) -> list[str]:
    """Reasons why a value of `produced` may not be a value of `accepted`; empty if every value is."""
    pair = (id(produced.schema), id(accepted.schema))
    if pair in visited or not accepted.schema:
        return []
    visited |= {pair}
    if produced.alternatives != [produced]:
        return [
            text
            for alternative in produced.alternatives
            for text in _violations(alternative, accepted, visited, path)
        ]
    if accepted.alternatives != [accepted]:
        by_alternative = [_violations(produced, entry, visited, path) for entry in accepted.alternatives]
        return min(by_alternative, key=len)
    return _violations_of_one(produced, accepted, visited, path)


def _violations_of_one(
    produced: _SchemaView, accepted: _SchemaView, visited: Visited, path: str
) -> list[str]:
    """As `_violations`, for two schemas without alternatives."""
    if accepted.values is not None:
        if produced.values is None:
            return [f"{path}: any value, where only {accepted.values} were allowed"]
        extra = [value for value in produced.values if value not in accepted.values]
        return [f"{path}: values {extra}, where only {accepted.values} were allowed"] if extra else []
    return [
        *_type_violations(produced, accepted, path),
        *_bound_violations(produced, accepted, path),
        *_object_violations(produced, accepted, visited, path),
        *_item_violations(produced, accepted, visited, path),
    ]


def _type_violations(produced: _SchemaView, accepted: _SchemaView, path: str) -> list[str]:
    allowed = accepted.types | ({"integer"} if "number" in accepted.types else set())
    types = produced.types or {_type_of(value) for value in produced.values or ()}
    if not allowed or (types and types <= allowed):
        return []
    return [f"{path}: type {sorted(types) or 'any'}, was {sorted(accepted.types)}"]


def _type_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "object")


def _bound_violations(produced: _SchemaView, accepted: _SchemaView, path: str) -> list[str]:
    violations = []
    for keyword in (*_UPPER, *_LOWER):
        limit, bound = accepted.schema.get(keyword), produced.schema.get(keyword)
        if limit is None or produced.values is not None:
            continue
        if bound is None or (bound > limit if keyword in _UPPER else bound < limit):
            violations.append(f"{path}: {keyword} {'none' if bound is None else bound}, was {limit}")
    return violations + _pattern_violations(produced, accepted, path)


def _pattern_violations(produced: _SchemaView, accepted: _SchemaView, path: str) -> list[str]:
    pattern = accepted.schema.get("pattern")
    if pattern is None or produced.schema.get("pattern") == pattern:
        return []
    if produced.values is not None and all(re.search(pattern, str(value)) for value in produced.values):
        return []
    return [f"{path}: pattern {produced.schema.get('pattern')}, was {pattern}"]


def _object_violations(
    produced: _SchemaView, accepted: _SchemaView, visited: Visited, path: str
) -> list[str]:
    fields, known = produced.schema.get("properties", {}), accepted.schema.get("properties", {})
    optional = set(accepted.schema.get("required", ())) - set(produced.schema.get("required", ()))
    violations = [f"{path}.{name}: optional, was required" for name in sorted(optional)]
    for name, entry in fields.items():
        if name in known:
            views = produced.child(entry), accepted.child(known[name])
            violations += _violations(*views, visited, f"{path}.{name}")
        elif accepted.additional is False:
            violations.append(f"{path}.{name}: a new field that the other side rejects")
    return violations + _map_violations(produced, accepted, visited, path)


def _map_violations(produced: _SchemaView, accepted: _SchemaView, visited: Visited, path: str) -> list[str]:
    """As `_violations`, for the fields of an object that `properties` does not name."""
    if accepted.additional is False and produced.additional is not False:
        return [f"{path}: arbitrary fields, which the other side rejects"]
    violations: list[str] = []
    if isinstance(accepted.additional, Mapping) and produced.additional is not False:
        views = produced.child(produced.additional), accepted.child(accepted.additional)
        violations += _violations(*views, visited, f"{path}[*]")
    patterns = accepted.schema.get("patternProperties", {})
    for pattern, entry in produced.schema.get("patternProperties", {}).items():
        if pattern in patterns:
            views = produced.child(entry), accepted.child(patterns[pattern])
            violations += _violations(*views, visited, f"{path}[{pattern}]")
        elif patterns or accepted.additional is False:
            violations.append(f"{path}: names like {pattern}, were {sorted(patterns)}")
    return violations


def _item_violations(produced: _SchemaView, accepted: _SchemaView, visited: Visited, path: str) -> list[str]:
    if "items" not in accepted.schema or "array" not in (produced.types or {"array"}):
        return []
    items = produced.child(produced.schema.get("items", {})), accepted.child(accepted.schema["items"])
    return _violations(*items, visited, f"{path}[]")
