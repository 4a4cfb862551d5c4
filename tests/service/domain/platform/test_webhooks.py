import base64
import hashlib
import hmac

import pytest

from service.domain.platform import webhooks
from service.errors import InvalidWebhook


def test_a_message_is_signed_as_in_standard_webhooks():
    key, body = webhooks.new_secret(), b'{"type":"rollout.halt"}'
    headers = webhooks.signed_headers([key], "msg_1", 1674087231, body)
    raw = base64.b64decode(key.removeprefix("whsec_"))
    assert len(raw) == 32
    wanted = hmac.new(raw, b"msg_1.1674087231." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", "1674087231")


def test_two_secrets_sign_during_a_rotation():
    old, new = webhooks.new_secret(), webhooks.new_secret()
    both = webhooks.signed_headers([new, old], "msg_1", 1, b"{}")["webhook-signature"].split(" ")
    alone = [webhooks.signed_headers([key], "msg_1", 1, b"{}")["webhook-signature"] for key in (new, old)]
    assert both == alone


def test_a_webhook_without_event_types_receives_all_events():
    assert webhooks.subscribes_to([], "rollout.pause")
    assert webhooks.subscribes_to(["rollout.halt"], "rollout.halt")
    assert not webhooks.subscribes_to(["rollout.halt"], "rollout.pause")
    assert webhooks.subscribes_to(["rollout.halt"], webhooks.TEST)


def test_an_unknown_event_type_is_refused_with_its_place():
    webhooks.check_event_types(["rollout.create", "rollout.halt"])
    with pytest.raises(InvalidWebhook) as caught:
        webhooks.check_event_types(["rollout.halt", "rollout.halted"])
    assert caught.value.field == "event_types.1"
