"""Private keys in files and variables, and the first trust bundle."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.documents import TrustBundle, check_not_expired
from sdk_contract.envelope import key_id
from service.domain.platform.trust_changes import TRUST_LIFETIME
from service.infrastructure.signing import ROLES, KeyUnusable, create_key, first_trust_bundle, load_signer

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def pem(private_key):
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_created_key_can_be_loaded(tmp_path):
    created = create_key(tmp_path / "keys" / "director.pem")
    loaded = load_signer(f"file:{tmp_path}/keys/director.pem", "director")
    assert loaded.public_key == created.public_key
    assert loaded.key_id == key_id(created.public_key)


def test_only_its_owner_can_read_a_key(tmp_path):
    create_key(tmp_path / "k.pem")
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path):
    create_key(tmp_path / "k.pem")
    before = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(FileExistsError):
        create_key(tmp_path / "k.pem")
    assert (tmp_path / "k.pem").read_bytes() == before


def test_a_key_may_be_in_a_variable(tmp_path, monkeypatch):
    created = create_key(tmp_path / "k.pem")
    monkeypatch.setenv("SOME_PEM", (tmp_path / "k.pem").read_text())
    assert load_signer("env:SOME_PEM", "patcher").public_key == created.public_key


def test_signatures_are_ed25519_over_the_bytes_given(tmp_path):
    signer = create_key(tmp_path / "k.pem")
    signature = signer.sign(b"message")
    assert len(signature) == 64
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signature, b"message")


def test_a_passphrase_encrypts_the_key_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAYLAG_KEY_PASSPHRASE", "correct horse")
    created = create_key(tmp_path / "k.pem")
    assert b"ENCRYPTED" in (tmp_path / "k.pem").read_bytes()
    assert load_signer(f"file:{tmp_path}/k.pem", "root").public_key == created.public_key
    for wrong in ("wrong", ""):
        monkeypatch.setenv("GRAYLAG_KEY_PASSPHRASE", wrong)
        with pytest.raises(KeyUnusable, match="cannot be used"):
            load_signer(f"file:{tmp_path}/k.pem", "root")


def test_the_passphrase_may_be_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAYLAG_KEY_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    with pytest.raises(KeyUnusable, match="GRAYLAG_KEY_PASSPHRASE_FILE"):
        create_key(tmp_path / "k.pem")
    (tmp_path / "passphrase").write_text("correct horse\n")
    created = create_key(tmp_path / "k.pem")
    monkeypatch.setenv("GRAYLAG_KEY_PASSPHRASE", "correct horse")
    assert load_signer(f"file:{tmp_path}/k.pem", "root").public_key == created.public_key


@pytest.mark.parametrize("uri", [None, ""])
def test_a_missing_key_names_the_setting(uri):
    with pytest.raises(KeyUnusable, match="GRAYLAG_PUBLISHER_KEY"):
        load_signer(uri, "publisher")


@pytest.mark.parametrize(
    "uri", ["file:", "file:missing.pem", "env:NO_SUCH_VARIABLE", "kms:key/1", "missing.pem", "FILE:x"]
)
def test_a_key_that_does_not_exist_is_named(uri):
    with pytest.raises(KeyUnusable, match=r"(?i)director"):
        load_signer(uri, "director")


@pytest.mark.parametrize("content", [b"", b"secret bytes", pem(ec.generate_private_key(ec.SECP256R1()))])
def test_another_kind_of_key_is_refused_and_never_shown(tmp_path, content):
    (tmp_path / "k.pem").write_bytes(content)
    with pytest.raises(KeyUnusable) as error:
        load_signer(f"file:{tmp_path}/k.pem", "director")
    assert "secret bytes" not in str(error.value)


def test_the_first_bundle_contains_the_keys_of_all_roles_and_is_valid_for_a_year(tmp_path):
    signers = {role: [create_key(tmp_path / f"{role}.pem")] for role in ROLES}
    bundle = TrustBundle.from_initial_envelope(first_trust_bundle(signers, now=NOW))
    assert bundle.version == 1
    for role, role_signers in signers.items():
        assert set(bundle.for_role(role).keys.values()) == {signer.public_key for signer in role_signers}
    check_not_expired(bundle, NOW + TRUST_LIFETIME - timedelta(seconds=1))
