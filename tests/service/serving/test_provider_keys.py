"""The keys of an identity provider, fetched over real TLS from a server that is good, strange or hostile."""

import asyncio
import contextlib
import gzip
import http.server
import json
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from service.serving.provider_keys import MAX_KEY_SET, ProviderKeys, fetch_from
from tests.service.actors import ok, refused
from tests.service.api.test_oidc import AUDIENCE, ISSUER, exchange, identity
from tests.service.proofs import P256, RSA, RULES, jwk, provider_token
from tests.service.test_device_credentials import service_with

KEYS = json.dumps({"keys": [jwk(RSA, "r")]}).encode()


def certified(folder, host):
    """A certificate for `host` that vouches for itself; the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / f"{host}.pem", folder / f"{host}.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private


class Provider:
    """An identity provider on the loopback interface."""

    def __init__(self, port, certificate):
        self.url, self.ca_file = f"https://localhost:{port}/keys", certificate
        self.status, self.headers, self.asked = 200, {}, 0
        self.body = [KEYS]
        self.pause = 0.0


@pytest.fixture
def served(tmp_path):
    """Starts providers, each with a certificate for some host."""
    with contextlib.ExitStack() as running:

        def start(host="localhost"):
            certificate, private = certified(tmp_path, host)

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    provider.asked += 1
                    self.send_response(provider.status)
                    for name, value in provider.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        for piece in provider.body:
                            self.wfile.write(piece)
                            time.sleep(provider.pause)

                def log_message(self, *_):
                    pass

            class Server(http.server.ThreadingHTTPServer):
                daemon_threads = True

                def handle_error(self, *_):
                    """A client that breaks off is what these tests are about."""

            server = running.enter_context(Server(("localhost", 0), Handler))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, private)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            provider = Provider(server.server_port, certificate)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            running.callback(server.shutdown)
            return provider

        yield start


def fetched(provider, timeout_s=2.0):
    return asyncio.run(fetch_from(provider.url, provider.ca_file, timeout_s=timeout_s)())


def test_keys_come_over_tls_from_a_server_that_somebody_trusted_vouches_for(served):
    assert fetched(served()) == KEYS


def test_a_server_that_nobody_vouches_for_is_not_believed(served):
    provider = served()
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(fetch_from(provider.url)())
    assert provider.asked == 0


def test_nor_is_one_that_shows_the_certificate_of_another(served):
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        fetched(served("elsewhere.example"))


def test_authorities_that_cannot_be_read_stop_the_start(tmp_path):
    with pytest.raises(OSError):  # noqa: PT011 - a missing file and one of other content are both OSErrors
        fetch_from("https://localhost/keys", tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(OSError):  # noqa: PT011 - the same
        fetch_from("https://localhost/keys", tmp_path / "empty.pem")


def test_a_redirect_is_not_followed(served):
    provider = served()
    provider.status, provider.headers = 302, {"Location": provider.url}
    with pytest.raises(ValueError, match="status 302"):
        fetched(provider)
    assert provider.asked == 1


def test_a_key_set_without_end_is_cut(served):
    provider = served()
    provider.body = [b"x" * 4096] * (MAX_KEY_SET // 4096 + 1)
    with pytest.raises(ValueError, match="too long"):
        fetched(provider)


def test_nothing_is_unpacked(served):
    provider = served()
    provider.headers, provider.body = {"Content-Encoding": "gzip"}, [gzip.compress(bytes(50 << 20))]
    assert len(fetched(provider)) < MAX_KEY_SET


def test_a_server_that_drips_is_given_up_although_every_single_read_is_in_time(served):
    provider = served()
    provider.body, provider.pause = [b"{"] * 200, 0.1
    with pytest.raises(TimeoutError):
        fetched(provider, timeout_s=0.4)


def test_a_silent_server_is_given_up(served):
    provider = served()
    provider.pause = 5.0
    with pytest.raises((httpx2.TimeoutException, TimeoutError)):
        fetched(provider, timeout_s=0.2)


def test_a_provider_that_fails_leaves_the_keys_that_were_known(served):
    provider, clock = served(), [0.0]
    keys = ProviderKeys(fetch_from(provider.url, provider.ca_file, timeout_s=2.0), lambda: clock[0])
    known = asyncio.run(keys.find("r"))
    provider.status, clock[0] = 500, 1e6
    assert asyncio.run(keys.find("r")) is known
    assert provider.asked == 2


def test_a_ci_job_exchanges_its_identity_with_keys_from_a_real_server(live, served):
    provider = served()
    changes = {
        "ci_jwks_url": provider.url,
        "ci_issuer": ISSUER,
        "ci_audience": AUDIENCE,
        "ci_repository_ids": ["74"],
        "idp_ca_file": provider.ca_file,
    }
    with service_with(live, **changes):
        assert ok(exchange(live, identity()))["expires_in"] == 900
        refused(exchange(live, identity(P256, "ES256", "r")), 401, "unauthorized")
    assert provider.asked == 1


def test_a_device_polls_with_its_apps_login_and_keys_from_a_real_server(live, served):
    provider, now = served(), int(time.time())
    changes = {
        "device_auth": ["idp"],
        "idp_jwks_url": provider.url,
        "idp_issuer": RULES.issuer,
        "idp_audience": RULES.audience,
        "idp_device_claim": RULES.device_claim,
        "idp_enrol": True,
        "idp_ca_file": provider.ca_file,
    }
    with service_with(live, **changes):

        def poll(device, **claims):
            token = provider_token(iat=now, exp=now + 600, device=device, **claims)
            headers = {"Authorization": f"Bearer {token}"}
            return live.client.post("/v1/model/update", json={"device_id": "phone-1"}, headers=headers)

        refused(poll("phone-1"), 404, "unknown_model")
        refused(poll("phone-2"), 403, "not_yourself")
        refused(poll("phone-1", iss="https://other.example"), 401, "unauthorized")
    assert provider.asked == 1
