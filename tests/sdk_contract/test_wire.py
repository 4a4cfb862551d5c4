import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sdk_contract.wire import EnrollRequest, Event, PollRequest, proof_message

EVENT_ID = "018f3c2e-0000-7000-8000-000000000001"
ENROLL = {"device_id": "d", "public_key": "A" * 43 + "=", "proof": "p", "enrollment_token": "t"}


def poll(**fields):
    return PollRequest.model_validate_json(json.dumps({"device_id": "dev_12345", **fields}))


def event(**fields):
    return Event.model_validate_json(json.dumps({"event_id": EVENT_ID, "state": "committed", **fields}))


def invalid_field(build, **fields):
    with pytest.raises(ValidationError) as refusal:
        build(**fields)
    return refusal.value.errors()[0]["loc"][0]


def test_a_poll_needs_only_two_fields():
    request = poll(current_version="v1.2")
    assert (request.device_id, request.current_version) == ("dev_12345", "v1.2")
    assert request.accepts == ["full"]


def test_a_device_without_a_model_sends_no_version():
    assert poll().current_version is None


def test_an_unknown_field_of_a_request_is_ignored():
    assert not hasattr(poll(brand_new={"deep": [1]}), "brand_new")
    assert event(brand_new=1).state == "committed"


@pytest.mark.parametrize(
    "fields",
    [
        {"device_id": ""},
        {"device_id": "../../etc"},
        {"device_id": "x" * 129},
        {"device_id": "a\n"},
        {"device_id": 5},
        {"current_version": "v 1"},
        {"current_version": "x" * 64},
        {"model": "a/b"},
        {"components": {"../x": "a" * 64}},
        {"components": {"x": "a" * 63}},
        {"components": {f"c{n}": "a" * 64 for n in range(65)}},
        {"wanted_components": ["a b"]},
        {"wanted_components": ["a"] * 65},
        {"attributes": {"x": None}},
        {"attributes": {"x": [1]}},
        {"attributes": {"x": {}}},
        {"attributes": {"a b": 1}},
        {"attributes": {f"a{n}": n for n in range(65)}},
        {"attributes": {"x": float("nan")}},
        {"attributes": {"x": float("inf")}},
        {"accepts": ["full"] * 9},
        {"accepts": "full"},
        {"nonce": "short"},
        {"nonce": "+" * 22},
        {"nonce": "A" * 44},
        {"trust_version": -1},
        {"trust_version": 2**53},
    ],
)
def test_the_fields_of_a_poll_are_bounded_and_the_error_names_the_field(fields):
    assert invalid_field(poll, **fields) == next(iter(fields))


def test_attributes_keep_their_types():
    assert poll(attributes={"t": True, "i": 1, "f": 1.5, "s": "1"}).attributes == {
        "t": True,
        "i": 1,
        "f": 1.5,
        "s": "1",
    }
    assert poll(attributes={"t": True}).attributes["t"] is True


@pytest.mark.parametrize("length", [16, 24, 32])
def test_a_nonce_is_sixteen_to_thirty_two_bytes(length):
    text = "A" * -(-length * 8 // 6)
    assert poll(nonce=text).nonce == text


@pytest.mark.parametrize(
    "fields",
    [
        {"event_id": "1"},
        {"event_id": EVENT_ID + "0"},
        {"state": ""},
        {"state": "s" * 33},
        {"seq": -1},
        {"seq": 2**31},
        {"code": "c" * 65},
        {"detail": "d" * 1025},
        {"attempt_id": "a" * 65},
        {"bytes": -1},
        {"metrics": {"load_ms": "fast"}},
        {"metrics": {"load_ms": float("nan")}},
        {"metrics": {"load_ms": float("inf")}},
        {"metrics": {f"m{n}": 1 for n in range(33)}},
    ],
)
def test_the_fields_of_an_event_are_bounded_and_the_error_names_the_field(fields):
    assert invalid_field(event, **fields) == next(iter(fields))


def test_an_event_with_an_unknown_state_is_accepted():
    assert event(state="warming_up").state == "warming_up"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_metric_that_is_not_finite_is_rejected(number):
    body = f'{{"event_id":"{EVENT_ID}","state":"metrics","metrics":{{"load_ms":{number}}}}}'
    with pytest.raises(ValidationError):
        Event.model_validate_json(body)


@pytest.mark.parametrize(
    "fields",
    [
        {"public_key": "A" * 44},
        {"public_key": ""},
        {"proof": "p" * 201},
        {"enrollment_token": ""},
        {"enrollment_token": "t" * 201},
    ],
)
def test_the_fields_of_an_enrollment_are_bounded(fields):
    assert invalid_field(lambda **more: EnrollRequest.model_validate(ENROLL | more), **fields) == next(
        iter(fields)
    )


PARTS = st.tuples(st.text(max_size=10), st.binary(max_size=10), st.text(max_size=10))


@given(PARTS, PARTS)
@settings(deadline=None)
def test_different_enrollments_have_different_proof_messages(one, other):
    assert (proof_message(*one) == proof_message(*other)) is (one == other)


def test_the_proof_message_of_an_enrollment_matches_the_contract():
    assert proof_message("d", b"kk", "t") == (
        b"\x00\x00\x00\x11graylag-enroll-v1\x00\x00\x00\x01d\x00\x00\x00\x02kk\x00\x00\x00\x01t"
    )
