import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from sdk_contract.documents import TrustBundle
from sdk_contract.envelope import key_id
from service.cli.errors import CliError
from service.cli.platform.keys import app
from service.domain.platform.trust_changes import InvalidTrustChange
from service.infrastructure import signing


@pytest.fixture
def keys(tmp_path):
    directory = tmp_path / "keys"
    run("init", "--out", directory)
    return directory


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def chain(directory):
    """Every bundle of the directory, each verified as a device would."""
    bundles = [TrustBundle.from_initial_envelope((directory / "trust.json").read_bytes())]
    while (path := directory / f"trust-{bundles[-1].version + 1}.json").exists():
        bundles.append(bundles[-1].verify_successor(path.read_bytes()))
    return bundles


def public_pem(path):
    key = Ed25519PrivateKey.generate().public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(pem)
    return key.public_bytes_raw()


def test_init_creates_a_key_for_each_role_and_a_self_signed_bundle(keys):
    assert {path.name for path in keys.glob("*.pem")} == {f"{role}.pem" for role in signing.ROLES}
    assert chain(keys)[0].version == 1


def test_init_never_overwrites(keys):
    before = (keys / "root.pem").read_bytes()
    with pytest.raises(CliError, match="is not overwritten"):
        run("init", "--out", keys)
    assert (keys / "root.pem").read_bytes() == before


@pytest.mark.parametrize("role", signing.ROLES)
def test_rotate_creates_the_next_bundle_with_both_keys(keys, role):
    run("rotate", role, "--keys", keys, "--root", keys / "root.pem")
    first, second = chain(keys)
    fresh = signing.load_signer(f"file:{keys}/{role}-v2.pem", role).public_key
    assert set(second.for_role(role).keys.values()) == {*first.for_role(role).keys.values(), fresh}


@pytest.mark.parametrize("role", signing.ROLES)
def test_remove_leaves_the_new_key(keys, role):
    run("rotate", role, "--keys", keys, "--root", keys / "root.pem")
    old = next(iter(chain(keys)[0].for_role(role).keys))
    run("remove", role, old, "--keys", keys, "--root", keys / "root.pem", "--root", new_root(keys, role))
    assert old not in chain(keys)[2].for_role(role).keys


def new_root(keys, role):
    return keys / ("root-v2.pem" if role == "root" else "root.pem")


def test_the_signature_of_a_removed_root_does_not_count(keys):
    run("rotate", "root", "--keys", keys, "--root", keys / "root.pem")
    old = next(iter(chain(keys)[0].for_role("root").keys))
    run("remove", "root", old, "--keys", keys, "--root", keys / "root-v2.pem")
    text = run("renew", "--keys", keys, "--root", keys / "root.pem")
    assert "1 root signature missing" in text


def test_an_unsigned_bundle_is_not_the_newest(keys):
    run("rotate", "director", "--keys", keys)
    assert json.loads(run("show", "--keys", keys, "--json"))["version"] == 1
    with pytest.raises(CliError, match="lacks signatures"):
        run("rotate", "patcher", "--keys", keys)


def test_an_invalid_change_leaves_no_bundle(keys):
    only = next(iter(chain(keys)[0].for_role("patcher").keys))
    with pytest.raises(
        InvalidTrustChange, match=r"invalid_trust_change: patcher would have 0 keys and a threshold of 1"
    ):
        run("remove", "patcher", only, "--keys", keys, "--root", keys / "root.pem")
    assert not (keys / "trust-2.json").exists()


def test_an_invalid_rotation_leaves_no_key(keys):
    with pytest.raises(
        InvalidTrustChange, match=r"invalid_trust_change: patcher would have 2 keys and a threshold of 3"
    ):
        run("rotate", "patcher", "--keys", keys, "--root", keys / "root.pem", "--threshold", 3)
    assert not (keys / "patcher-v2.pem").exists()


def test_two_of_three_roots_may_sign_one_after_the_other(tmp_path):
    keys = tmp_path / "keys"
    run("init", "--out", keys, "--roots", 3, "--threshold", 2)
    assert "1 root signature missing" in run(
        "rotate", "publisher", "--keys", keys, "--root", keys / "root-1.pem"
    )
    assert "1 root signature missing" in run(
        "sign", keys / "trust-2.json", "--keys", keys, "--root", keys / "root-1.pem"
    )
    assert len(list(keys.glob("trust*.json"))) == 2
    assert "missing" not in run("sign", keys / "trust-2.json", "--keys", keys, "--root", keys / "root-3.pem")
    assert [bundle.version for bundle in chain(keys)] == [1, 2]


def test_a_root_key_may_be_given_as_a_uri(keys, monkeypatch):
    monkeypatch.setenv("ROOT_PEM", (keys / "root.pem").read_text())
    run("renew", "--keys", keys, "--root", "env:ROOT_PEM")
    run("renew", "--keys", keys, "--root", f"file:{keys}/root.pem")
    assert [bundle.version for bundle in chain(keys)] == [1, 2, 3]


@pytest.mark.parametrize("role", ["director", "patcher", "publisher"])
def test_a_key_from_elsewhere_is_added_to_any_role(keys, tmp_path, role):
    public_key = public_pem(tmp_path / "kms.pem")
    run("add", role, tmp_path / "kms.pem", "--keys", keys, "--root", keys / "root.pem")
    assert public_key in chain(keys)[1].for_role(role).keys.values()


def test_a_root_key_from_elsewhere_must_sign_if_the_threshold_needs_it(keys, tmp_path):
    public_pem(tmp_path / "kms.pem")
    words = ("add", "root", tmp_path / "kms.pem", "--keys", keys, "--root", keys / "root.pem")
    assert "1 root signature missing" in run(*words, "--threshold", 2)


def test_a_threshold_above_the_number_of_roots_is_rejected(tmp_path):
    with pytest.raises(CliError, match="is higher than the number of root keys"):
        run("init", "--out", tmp_path / "keys", "--roots", 1, "--threshold", 2)
    assert not (tmp_path / "keys").exists()


def test_a_publisher_key_is_added_with_a_threshold(keys, tmp_path):
    public_key = public_pem(tmp_path / "ci.pem")
    run(
        "add", "publisher", tmp_path / "ci.pem", "--keys", keys, "--root", keys / "root.pem", "--threshold", 2
    )
    role = chain(keys)[1].for_role("publisher")
    assert public_key in role.keys.values()
    assert role.threshold == 2


def test_a_file_without_a_public_key_is_rejected(keys):
    with pytest.raises(CliError, match="is not a PEM file with a public key"):
        run("add", "publisher", keys / "publisher.pem", "--keys", keys)


def test_show_prints_keys_and_thresholds_of_all_roles(keys):
    facts = json.loads(run("show", "--keys", keys, "--json"))
    root = signing.load_signer(f"file:{keys}/root.pem", "root")
    assert (facts["version"], facts["signed_by"]) == (1, [root.key_id])
    assert facts["roles"]["root"] == {"threshold": 1, "keys": [key_id(root.public_key)]}
    text = run("show", keys / "trust.json", "--keys", keys)
    assert "version 1" in text
    assert all(role in text for role in signing.ROLES)


def test_a_forged_signature_is_not_shown(keys):
    envelope = json.loads((keys / "trust.json").read_bytes())
    envelope["signatures"][0]["sig"] = "AAAA"
    (keys / "forged.json").write_text(json.dumps(envelope))
    assert json.loads(run("show", keys / "forged.json", "--keys", keys, "--json"))["signed_by"] == []


def test_a_passphrase_encrypts_every_key(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAYLAG_KEY_PASSPHRASE", "correct horse")
    run("init", "--out", tmp_path / "keys")
    assert all(b"ENCRYPTED" in path.read_bytes() for path in (tmp_path / "keys").glob("*.pem"))
    run("rotate", "patcher", "--keys", tmp_path / "keys", "--root", tmp_path / "keys" / "root.pem")
    assert len(chain(tmp_path / "keys")) == 2


def test_an_unknown_role_is_rejected(keys):
    with pytest.raises(CliError, match="unknown role"):
        run("rotate", "king", "--keys", keys)
