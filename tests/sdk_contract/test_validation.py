import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from sdk_contract.errors import Malformed
from sdk_contract.validation import Validated, between, length, parse_object, pattern

Word = Annotated[str, pattern(r"^[a-z]{1,8}$")]


@dataclass(frozen=True, kw_only=True)
class Part(Validated):
    name: Word
    size: Annotated[int, between(0, 99)] = 0


@dataclass(frozen=True, kw_only=True)
class Thing(Validated):
    kind: Literal["a", "b"]
    parts: Annotated[list[Part], length(1, 3)]
    by_name: dict[Word, Part] = field(default_factory=dict)
    level: Annotated[int, between(1, 5)] = 1
    note: Word | None = None
    anything: Any = None


GOOD = {"kind": "a", "parts": [{"name": "x", "size": 99}], "by_name": {"y": {"name": "y"}}, "anything": [1.5]}
BAD = [
    ("kind", "c"),
    ("kind", 1),
    ("kind", None),
    ("parts", []),
    ("parts", [{"name": "x"}] * 4),
    ("parts", {"name": "x"}),
    ("parts", [{"name": "x", "size": 100}]),
    ("parts", [{"name": "x", "size": -1}]),
    ("parts", [{"name": "x", "size": True}]),
    ("parts", [{"name": "x", "size": 1.0}]),
    ("parts", [{"name": "X"}]),
    ("parts", [{"name": "x\n"}]),
    ("parts", [{"name": "x", "more": 1}]),
    ("parts", [{}]),
    ("parts", ["x"]),
    ("by_name", {"Y": {"name": "y"}}),
    ("by_name", {"y": None}),
    ("by_name", []),
    ("level", 0),
    ("level", 6),
    ("level", "1"),
    ("note", ""),
    ("note", 1),
]


def test_an_object_is_parsed_by_its_annotations():
    thing = parse_object(Thing, GOOD)
    assert thing == Thing(
        kind="a", parts=[Part(name="x", size=99)], by_name={"y": Part(name="y")}, anything=[1.5]
    )
    assert parse_object(Thing, thing) is thing


@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_invalid_value_is_malformed_and_the_error_names_the_field(name, value):
    with pytest.raises(Malformed, match=f"^malformed: {name}"):
        parse_object(Thing, GOOD | {name: value})


@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_instance_with_an_invalid_value_cannot_be_built(name, value):
    with pytest.raises(Malformed, match=f"^malformed: {name}"):
        Thing(**GOOD | {name: value})


@pytest.mark.parametrize(("name", "value"), BAD)
def test_pydantic_validates_the_annotations_alike(name, value):
    adapter = TypeAdapter(Thing)
    # Only in JSON mode does the strict check accept an object where the annotation names a class.
    assert adapter.validate_json(json.dumps(GOOD), strict=True) == parse_object(Thing, GOOD)
    with pytest.raises((ValidationError, Malformed), match=name):
        adapter.validate_json(json.dumps(GOOD | {name: value}), strict=True)


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_value_that_is_not_an_object_is_malformed(value):
    with pytest.raises(Malformed, match="is not allowed here"):
        parse_object(Thing, value)


@pytest.mark.parametrize("name", ["kind", "parts"])
def test_a_field_without_a_default_is_required(name):
    with pytest.raises(Malformed, match=f"{name}: missing"):
        parse_object(Thing, {key: value for key, value in GOOD.items() if key != name})


def test_an_unknown_field_of_an_object_is_malformed():
    with pytest.raises(Malformed, match="surprise: unknown"):
        parse_object(Thing, GOOD | {"surprise": 1})
