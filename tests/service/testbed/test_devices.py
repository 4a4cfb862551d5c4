import random
import uuid

from service.infrastructure.clock import utc_now
from service.infrastructure.tokens import RequestBinding, unverified_subject, verify_device_assertion
from service.testbed.devices import POLL, device_key_request, event_id, poll_body, synthetic_device


def test_a_signed_poll_passes_the_servers_verification():
    device = synthetic_device(7)
    request = device_key_request(device, POLL, poll_body(device, "m", "v1"), utc_now())
    token = dict(request.headers)[b"authorization"].decode().removeprefix("Bearer ")
    assert unverified_subject(token) == device.id
    binding = RequestBinding("POST", POLL, request.body)
    assert verify_device_assertion(token, device.key.public_key, utc_now(), binding)


def test_an_event_id_is_a_uuid_of_version_7_with_its_time():
    made = uuid.UUID(event_id(1_700_000_000.5, random.Random(1)))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_700_000_000_500
