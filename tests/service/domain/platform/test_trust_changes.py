from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import RoleKeys, RoleName, TrustBundle, check_not_expired, public_key_entry
from sdk_contract.envelope import Role
from service.domain.platform.trust_changes import InvalidTrustChange, missing_signatures, next_bundle

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROLES: tuple[RoleName, ...] = ("root", "publisher", "director", "patcher")


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
def test_an_added_key_leaves_the_old_key_trusted(bundle, keys, role):
    fresh = fresh_key()
    made = next_bundle(bundle, now=NOW, add=[(role, fresh)])
    assert made.version == 8
    assert set(made.for_role(role).keys.values()) == {keys[role], fresh}
    for other in (name for name in ROLES if name != role):
        assert made.for_role(other) == bundle.for_role(other)


@pytest.mark.parametrize("role", ROLES)
def test_a_dropped_key_is_removed_from_the_bundle(bundle, keys, role):
    fresh = fresh_key()
    both = next_bundle(bundle, now=NOW, add=[(role, fresh)])
    made = next_bundle(both, now=NOW, drop=[(role, public_key_entry(keys[role])[0])])
    assert made.version == 9
    assert list(made.for_role(role).keys.values()) == [fresh]
    assert public_key_entry(keys[role])[0] not in made.keys


def test_a_bundle_without_changes_expires_a_year_later(bundle):
    made = next_bundle(bundle, now=NOW)
    check_not_expired(made, NOW + timedelta(days=364))
    assert made.roles == bundle.roles


def test_the_last_key_of_a_role_cannot_be_dropped(bundle, keys):
    with pytest.raises(InvalidTrustChange, match="threshold"):
        next_bundle(bundle, now=NOW, drop=[("director", public_key_entry(keys["director"])[0])])


def test_a_threshold_above_the_number_of_keys_is_refused(bundle):
    with pytest.raises(InvalidTrustChange, match="threshold"):
        next_bundle(bundle, now=NOW, thresholds={"publisher": 2})


def test_a_threshold_can_rise_with_a_new_key(bundle):
    made = next_bundle(bundle, now=NOW, add=[("publisher", fresh_key())], thresholds={"publisher": 2})
    assert made.for_role("publisher").threshold == 2


def test_a_key_belongs_to_one_role(bundle, keys):
    with pytest.raises(InvalidTrustChange, match="publisher key already"):
        next_bundle(bundle, now=NOW, add=[("director", keys["publisher"])])


def test_a_key_of_another_role_cannot_be_dropped_from_this_one(bundle, keys):
    with pytest.raises(InvalidTrustChange, match="is not a director key"):
        next_bundle(bundle, now=NOW, drop=[("director", public_key_entry(keys["publisher"])[0])])


def test_a_key_under_two_ids_counts_once():
    key = fresh_key()
    role = Role({"a": key, "b": key, "c": fresh_key()}, 2)
    assert missing_signatures(role, ["a", "b"]) == 1
    assert missing_signatures(role, ["a", "c"]) == 0
    assert missing_signatures(role, ["stranger"]) == 2
