"""Webhook delivery: allowed addresses, redirects, TLS and deadlines."""

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.infrastructure.webhook_sender import WebhookGone, WebhookNotDelivered, WebhookSender
from tests.service.support.webhook_receiver import listening


def resolver(*addresses):
    """A resolver that returns these addresses for every host."""

    async def resolve(_host, _port):
        return addresses

    return resolve


@pytest.fixture
def receiver():
    with listening() as server:
        yield server


def test_a_message_arrives_with_its_headers(receiver):
    sender = WebhookSender(allow_private=True)
    assert sender.send(receiver.url, b"{}", {"webhook-id": "msg_1"}) == 204
    headers, body = receiver.received[0]
    assert (headers["webhook-id"], headers["host"], body) == ("msg_1", f"127.0.0.1:{receiver.port}", b"{}")


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "10.0.0.1"), ("::ffff:127.0.0.1",)])
def test_a_host_with_a_private_address_is_refused(receiver, addresses):
    with pytest.raises(WebhookNotDelivered, match="private address"):
        WebhookSender(resolve=resolver(*addresses)).send(
            f"https://hooks.example.com:{receiver.port}/", b"{}", {}
        )
    assert receiver.received == []


def test_the_connection_goes_to_the_address_that_was_checked(receiver):
    lookups = []

    async def resolve_once(host, port):
        lookups.append((host, port))
        return ["127.0.0.1"]

    WebhookSender(allow_private=True, resolve=resolve_once).send(
        f"http://nowhere.test:{receiver.port}/hook", b"{}", {}
    )
    assert lookups == [("nowhere.test", receiver.port)]
    assert receiver.received[0][0]["host"] == f"nowhere.test:{receiver.port}"


def test_the_next_address_is_tried_if_one_does_not_accept_the_connection(receiver):
    sender = WebhookSender(allow_private=True, resolve=resolver("127.255.255.254", "127.0.0.1"))
    assert sender.send(f"http://two.test:{receiver.port}/", b"{}", {}) == 204


def test_a_redirect_is_a_failure_and_is_not_followed(receiver):
    receiver.status, receiver.response_headers = 302, {"location": receiver.url + "/elsewhere"}
    with pytest.raises(WebhookNotDelivered, match="302"):
        WebhookSender(allow_private=True).send(receiver.url, b"{}", {})
    assert len(receiver.received) == 1


def test_410_gone_is_distinguished_from_other_failures(receiver):
    receiver.status = 410
    with pytest.raises(WebhookGone, match="410"):
        WebhookSender(allow_private=True).send(receiver.url, b"{}", {})
    receiver.status = 500
    with pytest.raises(WebhookNotDelivered, match="500") as error:
        WebhookSender(allow_private=True).send(receiver.url, b"{}", {})
    assert not isinstance(error.value, WebhookGone)


def test_a_silent_receiver_fails_at_the_deadline(receiver):
    receiver.respond.clear()
    with pytest.raises(WebhookNotDelivered, match=r"ReadTimeout|no response"):
        WebhookSender(allow_private=True, deadline_s=0.3).send(receiver.url, b"{}", {})


def test_a_refused_connection_is_named():
    for url in ("http://127.0.0.1:9/", "http://no-such-host.invalid/"):
        with pytest.raises(WebhookNotDelivered, match=r"ConnectError|gaierror"):
            WebhookSender(allow_private=True).send(url, b"{}", {})


def test_an_address_that_is_no_longer_allowed_is_refused(receiver):
    with pytest.raises(WebhookNotDelivered, match="must use https"):
        WebhookSender().send(receiver.url, b"{}", {})
    assert receiver.received == []


@pytest.fixture
def authority(tmp_path):
    """A certificate for `hooks.test`: the TLS contexts of the server and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 1, now - dt.timedelta(days=1), now + dt.timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(
        cadata=certificate.public_bytes(serialization.Encoding.PEM).decode()
    )


def test_the_certificate_must_match_the_host_although_the_connection_goes_to_an_address(authority):
    server, trusting = authority
    with listening(server) as receiver:
        sender = WebhookSender(allow_private=True, resolve=resolver("127.0.0.1"), tls=trusting)
        assert sender.send(f"https://hooks.test:{receiver.port}/", b"{}", {}) == 204
        with pytest.raises(WebhookNotDelivered, match="CERTIFICATE_VERIFY_FAILED"):
            sender.send(f"https://other.test:{receiver.port}/", b"{}", {})
        with pytest.raises(WebhookNotDelivered, match="CERTIFICATE_VERIFY_FAILED"):
            WebhookSender(allow_private=True, resolve=resolver("127.0.0.1")).send(
                f"https://hooks.test:{receiver.port}/", b"{}", {}
            )
