import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.outgoing import Gone, NotDelivered, Post
from tests.service.receiver import listening


def at(*addresses):
    """A resolver that gives these, whatever the name."""

    async def resolve(_host, _port):
        return addresses

    return resolve


@pytest.fixture
def receiver():
    with listening() as server:
        yield server


def test_a_message_arrives_with_its_headers(receiver):
    post = Post(allow_private=True)
    assert post.send(receiver.url, b"{}", {"webhook-id": "msg_1"}) == 204
    headers, body = receiver.got[0]
    assert (headers["webhook-id"], headers["host"], body) == ("msg_1", f"127.0.0.1:{receiver.port}", b"{}")


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "10.0.0.1"), ("::ffff:127.0.0.1",)])
def test_a_name_that_leads_inside_is_not_called(receiver, addresses):
    with pytest.raises(NotDelivered, match="inner network"):
        Post(resolve=at(*addresses)).send(f"https://hooks.example.com:{receiver.port}/", b"{}", {})
    assert receiver.got == []


def test_the_connection_goes_to_the_address_that_was_looked_at(receiver):
    asked = []

    async def once(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    Post(allow_private=True, resolve=once).send(f"http://nowhere.test:{receiver.port}/hook", b"{}", {})
    assert asked == [("nowhere.test", receiver.port)]
    assert receiver.got[0][0]["host"] == f"nowhere.test:{receiver.port}"


def test_an_address_that_takes_no_connection_is_followed_by_the_next(receiver):
    post = Post(allow_private=True, resolve=at("127.255.255.254", "127.0.0.1"))
    assert post.send(f"http://two.test:{receiver.port}/", b"{}", {}) == 204


def test_a_redirect_is_a_failure_and_is_not_followed(receiver):
    receiver.status, receiver.headers_out = 302, {"location": receiver.url + "/elsewhere"}
    with pytest.raises(NotDelivered, match="302"):
        Post(allow_private=True).send(receiver.url, b"{}", {})
    assert len(receiver.got) == 1


def test_gone_is_told_apart_from_other_failures(receiver):
    receiver.status = 410
    with pytest.raises(Gone):
        Post(allow_private=True).send(receiver.url, b"{}", {})
    receiver.status = 500
    with pytest.raises(NotDelivered) as caught:
        Post(allow_private=True).send(receiver.url, b"{}", {})
    assert not isinstance(caught.value, Gone)


def test_a_server_that_does_not_answer_is_waited_for_up_to_the_deadline(receiver):
    receiver.hold.clear()
    with pytest.raises(NotDelivered, match=r"ReadTimeout|no answer"):
        Post(allow_private=True, deadline_s=0.3).send(receiver.url, b"{}", {})


def test_nobody_there_is_a_failure_with_a_name():
    for url in ("http://127.0.0.1:9/", "http://no-such-host.invalid/"):
        with pytest.raises(NotDelivered):
            Post(allow_private=True).send(url, b"{}", {})


def test_an_address_that_is_not_allowed_any_more_is_not_called(receiver):
    with pytest.raises(NotDelivered, match="https only"):
        Post().send(receiver.url, b"{}", {})
    assert receiver.got == []


@pytest.fixture
def authority(tmp_path):
    """(server's context, what a client believes): a certificate for `hooks.test`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
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
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


def test_the_certificate_must_be_the_names_though_the_connection_goes_to_its_address(authority):
    server, believed = authority
    with listening(server) as receiver:
        post = Post(allow_private=True, resolve=at("127.0.0.1"), tls=believed)
        assert post.send(f"https://hooks.test:{receiver.port}/", b"{}", {}) == 204
        with pytest.raises(NotDelivered, match="CERTIFICATE_VERIFY_FAILED"):
            post.send(f"https://other.test:{receiver.port}/", b"{}", {})
        with pytest.raises(NotDelivered, match="CERTIFICATE_VERIFY_FAILED"):
            Post(allow_private=True, resolve=at("127.0.0.1")).send(
                f"https://hooks.test:{receiver.port}/", b"{}", {}
            )
