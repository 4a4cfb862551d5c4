"""Key stores, with a fake of securesystemslib, which is an optional extra."""

import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import Directive
from sdk_contract.envelope import Role, key_id
from service.infrastructure import signing
from service.infrastructure.signing.key_store import KeyStoreError, key_store_signer

LIBRARY = '''
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

class SSlibKey:
    def __init__(self, keyid, keytype, scheme, keyval):
        assert (keytype, scheme) == ("ed25519", "ed25519")
        self.keyval = keyval

class Signature:
    def __init__(self, signature):
        self.signature = signature

class Signer:
    """Has one key per seed: hv:7/1 is the key made of 32 bytes 7."""

    @staticmethod
    def from_priv_key_uri(uri, key):
        if uri.startswith("hv:down"):
            raise ConnectionError("no route")
        self = Signer()
        self.seed = int(uri.removeprefix("hv:").split("/")[0])
        return self

    def sign(self, message):
        if self.seed == 66:
            raise TimeoutError("the store did not respond")
        return Signature(Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32).sign(message).hex())
'''


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The part of the library that is used, as a package on the path."""
    package = tmp_path / "securesystemslib"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "signer.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "securesystemslib"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "securesystemslib"]:
        del sys.modules[name]


def public(seed):
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()


@pytest.mark.usefixtures("store")
def test_a_key_store_signs_a_document():
    signer = signing.load_signer(f"hv:7/1#{public(7).hex()}", "publisher")
    assert signer.public_key == public(7)
    assert signer.key_id == key_id(public(7))
    directive = Directive(
        device_id="d",
        model="m",
        request_sha256="0" * 64,
        action="none",
        reason="up_to_date",
        next_poll_s=1,
        issued="2026-11-20T12:00:00Z",
        expires="2026-11-20T13:00:00Z",
    )
    assert Directive.from_envelope(directive.sign([signer]), Role({signer.key_id: public(7)}, 1)) == directive


@pytest.mark.usefixtures("store")
def test_a_signature_with_another_key_is_refused():
    signer = key_store_signer(f"hv:8/1#{public(7).hex()}")
    with pytest.raises(KeyStoreError, match="another key"):
        signer.sign(b"message")


@pytest.mark.usefixtures("store")
def test_every_failure_of_a_store_is_a_key_store_error():
    with pytest.raises(KeyStoreError, match="TimeoutError"):
        key_store_signer(f"hv:66/1#{public(66).hex()}").sign(b"message")
    with pytest.raises(signing.KeyUnusable, match="ConnectionError"):
        signing.load_signer(f"hv:down/1#{public(7).hex()}", "publisher")


@pytest.mark.parametrize("uri", ["hv:7/1", "hv:7/1#", "hv:7/1#abcd", "awskms:key#zz", "hsm:#" + "0" * 66])
def test_a_uri_without_a_public_key_is_refused(uri):
    with pytest.raises(signing.KeyUnusable, match="64 hex digits"):
        signing.load_signer(uri, "publisher")


def test_a_key_store_without_the_extra_names_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "securesystemslib").mkdir()
    (tmp_path / "securesystemslib" / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(signing.KeyUnusable, match=r"graylag\[kms\]"):
        signing.load_signer(f"hv:7/1#{public(7).hex()}", "publisher")
