"""Would a device, or a server, of the older contract still understand the newer one?

A request must stay acceptable: everything that the old schema allows, the new one allows. An answer must stay
readable: everything that the new schema allows, the old one allowed. Both are one question, whether one
schema is *within* another, asked in two directions; and no field that was there may go.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Schema = Mapping[str, Any]
_UPPER = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
_LOWER = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")
_METHODS = ("get", "post", "put", "patch", "delete")


def breaks_in_api(old: Schema, new: Schema) -> list[str]:
    """What in the OpenAPI description `new` breaks a client that was written against `old`."""
    found: list[str] = []
    for path, operations in old["paths"].items():
        for method in _METHODS:
            if method in operations:
                where = f"{method.upper()} {path}"
                changed = new["paths"].get(path, {}).get(method)
                found += (
                    _Operation(where, old, new).breaks(operations[method], changed)
                    if changed
                    else [f"{where}: is gone"]
                )
    return found


def breaks_in_schema(old: Schema, new: Schema, direction: Literal["request", "answer"]) -> list[str]:
    """What in the schema `new` breaks the other side, which was written against `old`.

    Args:
        old: with its own `$defs`, if any.
        new: likewise.
        direction: `request` flows from old clients to us, `answer` (documents too) from us to them.
    """
    return _compare(_View(old, old), _View(new, new), direction, "")


@dataclass(slots=True)
class _Operation:
    where: str
    old_root: Schema
    new_root: Schema

    def breaks(self, old: Schema, new: Schema) -> list[str]:
        found = [f"{self.where}: needs a credential now"] if _secure(new) and not _secure(old) else []
        found += self._parameters(old, new)
        found += self._contents(old.get("requestBody", {}), new.get("requestBody", {}), "request")
        if new.get("requestBody", {}).get("required") and not old.get("requestBody"):
            found.append(f"{self.where}: needs a body now")
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                found.append(f"{self.where}: status {status} is gone")
                continue
            found += self._contents(answer, new["responses"][status], "answer", status)
        return found

    def _contents(
        self, old: Schema, new: Schema, direction: Literal["request", "answer"], name: str = "request"
    ) -> list[str]:
        found: list[str] = []
        for media, content in old.get("content", {}).items():
            if media not in new.get("content", {}):
                found.append(f"{self.where} {name}: {media} is gone")
                continue
            schema = new["content"][media].get("schema", {})
            where = f"{self.where} {name}"
            views = _View(content["schema"], self.old_root), _View(schema, self.new_root)
            found += _compare(*views, direction, where)
        return found

    def _parameters(self, old: Schema, new: Schema) -> list[str]:
        before = {entry["name"]: entry for entry in old.get("parameters", ())}
        after = {entry["name"]: entry for entry in new.get("parameters", ())}
        found = [f"{self.where}: parameter {name} is gone" for name in before.keys() - after.keys()]
        for name, entry in after.items():
            where = f"{self.where} {name}"
            if entry.get("required") and not before.get(name, {}).get("required"):
                found.append(f"{where}: is required now")
            if name in before:
                was, now = before[name]["schema"], entry["schema"]
                found += _compare(_View(was, self.old_root), _View(now, self.new_root), "request", where)
        return sorted(found)


def _secure(operation: Schema) -> bool:
    return bool(operation.get("security"))


def _compare(
    before: "_View", after: "_View", direction: Literal["request", "answer"], where: str
) -> list[str]:
    gone = [f"{where}{path}: is gone" for path in _removed(before, after, frozenset(), "")]
    inner, outer = (before, after) if direction == "request" else (after, before)
    return gone + [f"{where}{fault}" for fault in _outside(inner, outer, frozenset(), "")]


@dataclass(frozen=True, slots=True)
class _View:
    """A schema with the root that its references point into."""

    raw: Any
    root: Schema = field(repr=False)

    @property
    def schema(self) -> Schema:
        found: Any = self.raw
        while isinstance(found, Mapping) and "$ref" in found:
            target: Any = self.root
            for part in found["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            found = target
        if found is False:
            return {"enum": []}
        return found if isinstance(found, Mapping) else {}

    def at(self, raw: Any) -> "_View":
        return _View(raw, self.root)

    @property
    def alternatives(self) -> "list[_View]":
        for keyword in ("anyOf", "oneOf"):
            if keyword in self.schema:
                return [self.at(entry) for entry in self.schema[keyword]]
        return [self]

    @property
    def types(self) -> frozenset[str]:
        named = self.schema.get("type", ())
        return frozenset((named,) if isinstance(named, str) else named)

    @property
    def values(self) -> list[Any] | None:
        if "const" in self.schema:
            return [self.schema["const"]]
        found: list[Any] | None = self.schema.get("enum")
        return found

    @property
    def additional(self) -> Any:
        return self.schema.get("additionalProperties", True)


def _removed(old: _View, new: _View, seen: frozenset[int], path: str) -> Iterator[str]:
    """Paths of fields that `old` has anywhere and `new` has not."""
    if id(old.schema) in seen:
        return
    seen |= {id(old.schema)}
    fields = {name: view for other in new.alternatives for name, view in _children(other)}
    for one in old.alternatives:
        if one is not old and id(one.schema) in seen:
            continue
        for name, view in _children(one):
            if name in fields:
                yield from _removed(view, fields[name], seen, path + name)
            elif not name.startswith("["):
                yield path + name


def _children(view: _View) -> Iterator[tuple[str, _View]]:
    for name, entry in view.schema.get("properties", {}).items():
        yield f".{name}", view.at(entry)
    if "items" in view.schema:
        yield "[]", view.at(view.schema["items"])
    if isinstance(view.additional, Mapping):
        yield "[*]", view.at(view.additional)
    for pattern, entry in view.schema.get("patternProperties", {}).items():
        yield f"[{pattern}]", view.at(entry)


def _outside(inner: _View, outer: _View, seen: frozenset[tuple[int, int]], path: str) -> list[str]:
    """Why some value of `inner` is no value of `outer`; empty where all are."""
    pair = (id(inner.schema), id(outer.schema))
    if pair in seen or not outer.schema:
        return []
    seen |= {pair}
    if len(inner.alternatives) > 1 or inner.alternatives[0] is not inner:
        return [fault for one in inner.alternatives for fault in _outside(one, outer, seen, path)]
    choices = [_outside(inner, one, seen, path) for one in outer.alternatives if one is not outer]
    if choices:
        return min(choices, key=len)
    return _outside_one(inner, outer, seen, path)


def _outside_one(inner: _View, outer: _View, seen: frozenset[tuple[int, int]], path: str) -> list[str]:
    if outer.values is not None:
        extra = (
            None if inner.values is None else [value for value in inner.values if value not in outer.values]
        )
        return [] if extra == [] else [f"{path}: values outside {outer.values}: {extra or 'any'}"]
    return [
        *_outside_type(inner, outer, path),
        *_outside_bounds(inner, outer, path),
        *_outside_object(inner, outer, seen, path),
        *_outside_items(inner, outer, seen, path),
    ]


def _outside_type(inner: _View, outer: _View, path: str) -> list[str]:
    allowed = outer.types | ({"integer"} if "number" in outer.types else set())
    given = inner.types or {_type_of(value) for value in inner.values or ()}
    if not allowed or (given and given <= allowed):
        return []
    return [f"{path}: type {sorted(given) or 'any'} where {sorted(outer.types)} was"]


def _type_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "object")


def _outside_bounds(inner: _View, outer: _View, path: str) -> list[str]:
    found = []
    for keyword in (*_UPPER, *_LOWER):
        bound, own = outer.schema.get(keyword), inner.schema.get(keyword)
        if bound is None or inner.values is not None:
            continue
        if own is None or (own > bound if keyword in _UPPER else own < bound):
            found.append(f"{path}: {keyword} {own if own is not None else 'none'} where {bound} was")
    return found + _outside_pattern(inner, outer, path)


def _outside_pattern(inner: _View, outer: _View, path: str) -> list[str]:
    pattern = outer.schema.get("pattern")
    if pattern is None or inner.schema.get("pattern") == pattern:
        return []
    if inner.values is not None and all(re.search(pattern, str(value)) for value in inner.values):
        return []
    return [f"{path}: pattern {inner.schema.get('pattern')} where {pattern} was"]


def _outside_object(inner: _View, outer: _View, seen: frozenset[tuple[int, int]], path: str) -> list[str]:
    own, allowed = inner.schema.get("properties", {}), outer.schema.get("properties", {})
    missing = set(outer.schema.get("required", ())) - set(inner.schema.get("required", ()))
    found = [f"{path}.{name}: not always there, where it was required" for name in sorted(missing)]
    for name, entry in own.items():
        if name in allowed:
            found += _outside(inner.at(entry), outer.at(allowed[name]), seen, f"{path}.{name}")
        elif outer.additional is False:
            found.append(f"{path}.{name}: a field that the other side refuses")
    return found + _outside_rest(inner, outer, seen, path)


def _outside_rest(inner: _View, outer: _View, seen: frozenset[tuple[int, int]], path: str) -> list[str]:
    """Of maps: the fields that no one names."""
    if outer.additional is False and inner.additional is not False:
        return [f"{path}: unnamed fields, which the other side refuses"]
    found: list[str] = []
    if isinstance(outer.additional, Mapping) and inner.additional is not False:
        found += _outside(inner.at(inner.additional), outer.at(outer.additional), seen, f"{path}[*]")
    patterns = outer.schema.get("patternProperties", {})
    for pattern, entry in inner.schema.get("patternProperties", {}).items():
        if pattern in patterns:
            found += _outside(inner.at(entry), outer.at(patterns[pattern]), seen, f"{path}[{pattern}]")
        elif patterns or outer.additional is False:
            found.append(f"{path}: names like {pattern} where {sorted(patterns)} were")
    return found


def _outside_items(inner: _View, outer: _View, seen: frozenset[tuple[int, int]], path: str) -> list[str]:
    if "items" not in outer.schema or "array" not in (inner.types or {"array"}):
        return []
    return _outside(
        inner.at(inner.schema.get("items", {})), outer.at(outer.schema["items"]), seen, f"{path}[]"
    )
