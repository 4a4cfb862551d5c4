import pytest

from service.domain.platform.webhook_urls import check_url, is_private, redacted_url
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
def test_public_addresses_are_not_private(address):
    assert not is_private(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_recognized_in_every_notation(address):
    assert is_private(address)


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
def test_a_url_that_is_not_public_https_is_refused(url):
    with pytest.raises(InvalidWebhook) as caught:
        check_url(url, allow_private=False)
    assert caught.value.field == "url"


def test_http_and_private_addresses_can_be_allowed():
    for url in ("http://127.0.0.1:8080/hook", "http://localhost/", "https://10.0.0.1/"):
        check_url(url, allow_private=True)
    with pytest.raises(
        InvalidWebhook, match=r"invalid_webhook: the URL must use https; for development, set"
    ):
        check_url("file:///etc/passwd", allow_private=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/secret", "https://hooks.example.com/..."),
        ("https://hooks.example.com?token=secret", "https://hooks.example.com/..."),
        ("https://hooks.example.com/", "https://hooks.example.com/"),
    ],
)
def test_a_path_that_may_be_secret_is_redacted(url, shown):
    assert redacted_url(url) == shown
