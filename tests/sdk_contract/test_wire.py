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


def fault(build, **fields):
    with pytest.raises(ValidationError) as refusal:
        build(**fields)
    return refusal.value.errors()[0]["loc"][0]


def test_two_fields_make_a_poll():
    request = poll(current_version="v1.2")
    assert (request.device_id, request.current_version) == ("dev_12345", "v1.2")
    assert request.accepts == ["full"]


def test_a_device_without_a_model_says_no_version():
    assert poll().current_version is None


def test_a_field_of_a_newer_sdk_is_ignored():
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
def test_what_a_poll_says_is_bounded_and_the_fault_is_named(fields):
    assert fault(poll, **fields) == next(iter(fields))


def test_attributes_keep_their_kinds():
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
def test_what_an_event_says_is_bounded_and_the_fault_is_named(fields):
    assert fault(event, **fields) == next(iter(fields))


def test_a_state_that_this_server_does_not_know_yet_is_taken():
    assert event(state="warming_up").state == "warming_up"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_no_database_keeps_is_refused(number):
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
def test_what_an_enrollment_says_is_bounded(fields):
    assert fault(lambda **more: EnrollRequest.model_validate(ENROLL | more), **fields) == next(iter(fields))


PARTS = st.tuples(st.text(max_size=10), st.binary(max_size=10), st.text(max_size=10))


@given(PARTS, PARTS)
@settings(deadline=None)
def test_no_two_enrollments_share_the_bytes_that_prove_them(one, other):
    assert (proof_message(*one) == proof_message(*other)) is (one == other)


def test_a_proof_of_enrollment_is_the_bytes_that_the_contract_describes():
    assert proof_message("d", b"kk", "t") == (
        b"\x00\x00\x00\x11graylag-enroll-v1\x00\x00\x00\x01d\x00\x00\x00\x02kk\x00\x00\x00\x01t"
    )
