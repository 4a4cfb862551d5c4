from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import RoleKeys, TrustBundle, public_key_entry, require_fresh
from sdk_contract.envelope import Role
from service.domain.trust_changes import InvalidTrustChange, missing_voices, successor

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROLES = ("root", "publisher", "director", "patcher")


def fresh_key():
    return Ed25519PrivateKey.generate().public_key().public_bytes_raw()


@pytest.fixture
def keys():
    return {role: fresh_key() for role in ROLES}


@pytest.fixture
def bundle(keys):
    entries = {role: public_key_entry(key) for role, key in keys.items()}
    return TrustBundle(
        version=7,
        expires="2026-12-01T00:00:00Z",
        keys=dict(entries.values()),
        roles={role: RoleKeys(keys=[entry[0]], threshold=1) for role, entry in entries.items()},
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_new_key_stands_beside_the_old_one(bundle, keys, role):
    fresh = fresh_key()
    made = successor(bundle, now=NOW, add=[(role, fresh)])
    assert made.version == 8
    assert set(made.for_role(role).keys.values()) == {keys[role], fresh}
    for other in set(ROLES) - {role}:
        assert made.for_role(other) == bundle.for_role(other)


@pytest.mark.parametrize("role", ROLES)
def test_a_dropped_key_is_gone_from_the_bundle(bundle, keys, role):
    fresh = fresh_key()
    both = successor(bundle, now=NOW, add=[(role, fresh)])
    made = successor(both, now=NOW, drop=[(role, public_key_entry(keys[role])[0])])
    assert made.version == 9
    assert list(made.for_role(role).keys.values()) == [fresh]
    assert public_key_entry(keys[role])[0] not in made.keys


def test_a_bundle_without_changes_lives_for_another_year(bundle):
    made = successor(bundle, now=NOW)
    require_fresh(made, NOW + timedelta(days=364))
    assert made.roles == bundle.roles


def test_the_last_key_of_a_role_cannot_be_dropped(bundle, keys):
    with pytest.raises(InvalidTrustChange, match="nobody could ever sign"):
        successor(bundle, now=NOW, drop=[("director", public_key_entry(keys["director"])[0])])


def test_a_threshold_above_the_number_of_keys_is_refused(bundle):
    with pytest.raises(InvalidTrustChange, match="nobody could ever sign"):
        successor(bundle, now=NOW, thresholds={"publisher": 2})


def test_a_threshold_can_rise_with_a_new_key(bundle):
    made = successor(bundle, now=NOW, add=[("publisher", fresh_key())], thresholds={"publisher": 2})
    assert made.for_role("publisher").threshold == 2


def test_a_key_belongs_to_one_role(bundle, keys):
    with pytest.raises(InvalidTrustChange, match="publisher key already"):
        successor(bundle, now=NOW, add=[("director", keys["publisher"])])


def test_a_key_of_another_role_cannot_be_dropped_from_this_one(bundle, keys):
    with pytest.raises(InvalidTrustChange, match="is no director key"):
        successor(bundle, now=NOW, drop=[("director", public_key_entry(keys["publisher"])[0])])


def test_one_key_under_two_ids_is_one_voice():
    key = fresh_key()
    role = Role({"a": key, "b": key, "c": fresh_key()}, 2)
    assert missing_voices(role, ["a", "b"]) == 1
    assert missing_voices(role, ["a", "c"]) == 0
    assert missing_voices(role, ["stranger"]) == 2
