import base64
import hashlib
import hmac

import pytest

from service.domain import webhooks
from service.errors import InvalidWebhook

PUBLIC = ["8.8.8.8", "203.0.114.1", "2606:4700:4700::1111"]
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "2002:7f00:0001::",
    "64:ff9b::7f00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_one(address):
    assert not webhooks.is_private(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_whatever_leads_inside_is_seen_in_every_notation(address):
    assert webhooks.is_private(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "ftp://hooks.example.com/x",
        "https://localhost/x",
        "https://db.internal/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://user:secret@hooks.example.com/x",
        "https://hooks.example.com/x#part",
        "https://hooks.example.com:99999/x",
        "https:///x",
        "https://hooks.example.com/a b",
        "https://hooks.exämple.com/",
        "https://hooks.example.com/\r\nHost: inner",
        "hooks.example.com",
    ],
)
def test_an_address_that_nobody_outside_could_mean_is_refused_by_its_name(url):
    with pytest.raises(InvalidWebhook) as caught:
        webhooks.check_url(url, allow_private=False)
    assert caught.value.field == "url"


def test_plain_http_and_loopback_are_let_through_where_they_are_meant():
    for url in ("http://127.0.0.1:8080/hook", "http://localhost/", "https://10.0.0.1/"):
        webhooks.check_url(url, allow_private=True)
    with pytest.raises(InvalidWebhook):
        webhooks.check_url("file:///etc/passwd", allow_private=True)


def test_a_message_is_signed_as_standard_webhooks_says():
    key, body = webhooks.new_secret(), b'{"type":"rollout.halt"}'
    headers = webhooks.headers_of([key], "msg_1", 1674087231, body)
    raw = base64.b64decode(key.removeprefix("whsec_"))
    assert len(raw) == 32
    wanted = hmac.new(raw, b"msg_1.1674087231." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", "1674087231")


def test_two_secrets_sign_while_one_follows_the_other():
    old, new = webhooks.new_secret(), webhooks.new_secret()
    both = webhooks.headers_of([new, old], "msg_1", 1, b"{}")["webhook-signature"].split(" ")
    alone = [webhooks.headers_of([key], "msg_1", 1, b"{}")["webhook-signature"] for key in (new, old)]
    assert both == alone


def test_who_asks_for_nothing_in_particular_hears_everything():
    assert webhooks.wants([], "rollout.pause")
    assert webhooks.wants(["rollout.halt"], "rollout.halt")
    assert not webhooks.wants(["rollout.halt"], "rollout.pause")
    assert webhooks.wants(["rollout.halt"], webhooks.TEST)


def test_a_kind_that_never_happens_is_refused_at_its_place():
    webhooks.check_kinds(["rollout.created", "rollout.halt"])
    with pytest.raises(InvalidWebhook) as caught:
        webhooks.check_kinds(["rollout.halt", "rollout.halted"])
    assert caught.value.field == "kinds.1"
