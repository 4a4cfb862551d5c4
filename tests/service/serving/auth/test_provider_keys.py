"""The keys of an identity provider, fetched over real TLS from a server that is correct, faulty or hostile."""

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

from service.serving.auth.provider_keys import MAX_KEY_SET_BYTES, ProviderKeys, key_set_fetcher
from tests.service.api.platform.test_oidc import AUDIENCE, ISSUER, exchange, identity
from tests.service.serving.auth.test_credentials import service_with
from tests.service.support.actors import ok, refused
from tests.service.support.device_requests import P256, RSA, RULES, jwk, provider_token

KEYS = json.dumps({"keys": [jwk(RSA, "r")]}).encode()


def self_signed(folder, host):
    """A self-signed certificate for `host`; the files of the certificate and of its key."""
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


class FakeProvider:
    """An identity provider on loopback."""

    def __init__(self, port, certificate):
        self.url, self.ca_file = f"https://localhost:{port}/keys", certificate
        self.status, self.headers, self.requests = 200, {}, 0
        self.body = [KEYS]
        self.pause = 0.0


@pytest.fixture
def start_provider(tmp_path):
    """A function that starts a provider with a certificate for a host."""
    with contextlib.ExitStack() as running:

        def start(host="localhost"):
            certificate, private = self_signed(tmp_path, host)

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    provider.requests += 1
                    self.send_response(provider.status)
                    for name, value in provider.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        for piece in provider.body:
                            self.wfile.write(piece)
                            # A slow provider, on purpose.
                            time.sleep(provider.pause)

                def log_message(self, *_):
                    pass

            class Server(http.server.ThreadingHTTPServer):
                daemon_threads = True

                def handle_error(self, *_):
                    """Ignore errors, because clients in these tests disconnect on purpose."""

            server = running.enter_context(Server(("localhost", 0), Handler))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, private)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            provider = FakeProvider(server.server_port, certificate)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            running.callback(server.shutdown)
            return provider

        yield start


def fetch(provider, timeout_s=2.0):
    return run_fetch(key_set_fetcher(provider.url, provider.ca_file, timeout_s=timeout_s))


def run_fetch(fetch_keys):
    async def awaited():
        return await fetch_keys()

    return asyncio.run(awaited())


def test_keys_are_fetched_over_tls_from_a_trusted_server(start_provider):
    assert fetch(start_provider()) == KEYS


def test_an_untrusted_server_is_refused(start_provider):
    provider = start_provider()
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        run_fetch(key_set_fetcher(provider.url))
    assert provider.requests == 0


def test_a_server_with_the_certificate_of_another_host_is_refused(start_provider):
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(start_provider("elsewhere.example"))


def test_an_unreadable_ca_file_stops_the_start(tmp_path):
    with pytest.raises(OSError):  # noqa: PT011 - a missing file and one of other content are both OSErrors
        key_set_fetcher("https://localhost/keys", tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(OSError):  # noqa: PT011 - the same
        key_set_fetcher("https://localhost/keys", tmp_path / "empty.pem")


def test_a_redirect_is_not_followed(start_provider):
    provider = start_provider()
    provider.status, provider.headers = 302, {"Location": provider.url}
    with pytest.raises(ValueError, match="status 302"):
        fetch(provider)
    assert provider.requests == 1


def test_a_key_set_that_is_too_long_is_refused(start_provider):
    provider = start_provider()
    provider.body = [b"x" * 4096] * (MAX_KEY_SET_BYTES // 4096 + 1)
    with pytest.raises(ValueError, match="longer than"):
        fetch(provider)


def test_a_compressed_key_set_is_not_decompressed(start_provider):
    provider = start_provider()
    provider.headers, provider.body = {"Content-Encoding": "gzip"}, [gzip.compress(bytes(50 << 20))]
    assert len(fetch(provider)) < MAX_KEY_SET_BYTES


def test_a_server_that_sends_slowly_times_out_although_every_read_is_in_time(start_provider):
    provider = start_provider()
    provider.body, provider.pause = [b"{"] * 200, 0.1
    with pytest.raises(TimeoutError):
        fetch(provider, timeout_s=0.4)


def test_a_silent_server_times_out(start_provider):
    provider = start_provider()
    provider.pause = 5.0
    with pytest.raises((httpx2.TimeoutException, TimeoutError)):
        fetch(provider, timeout_s=0.2)


def test_a_failing_provider_leaves_the_known_keys(start_provider):
    provider, clock = start_provider(), [0.0]
    keys = ProviderKeys(key_set_fetcher(provider.url, provider.ca_file, timeout_s=2.0), lambda: clock[0])
    known = asyncio.run(keys.find("r"))
    provider.status, clock[0] = 500, 1e6
    assert asyncio.run(keys.find("r")) is known
    assert provider.requests == 2


def test_a_ci_job_exchanges_its_identity_token_with_keys_from_a_real_server(live, start_provider):
    provider = start_provider()
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
    assert provider.requests == 1


def test_a_device_polls_with_its_apps_token_and_keys_from_a_real_server(live, start_provider):
    provider, now = start_provider(), int(time.time())
    changes = {
        "device_auth": ["idp"],
        "idp_jwks_url": provider.url,
        "idp_issuer": RULES.issuer,
        "idp_audience": RULES.audience,
        "idp_device_claim": RULES.device_claim,
        "idp_auto_enroll": True,
        "idp_ca_file": provider.ca_file,
    }
    with service_with(live, **changes):

        def poll(device, **claims):
            token = provider_token(iat=now, exp=now + 600, device=device, **claims)
            headers = {"Authorization": f"Bearer {token}"}
            return live.client.post("/v1/model/update", json={"device_id": "phone-1"}, headers=headers)

        refused(poll("phone-1"), 404, "unknown_model")
        refused(poll("phone-2"), 403, "device_mismatch")
        refused(poll("phone-1", iss="https://other.example"), 401, "unauthorized")
    assert provider.requests == 1
