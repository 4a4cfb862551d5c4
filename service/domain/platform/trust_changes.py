"""Changes of the trust bundle: keys are added in one version and dropped in a later one.

A fleet never has the same bundle everywhere. So a new key is added beside the old one, which stays trusted, and the
old one is dropped by a later bundle, when devices have had time to update.
"""

import base64
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sdk_contract.documents import RoleKeys, RoleName, TrustBundle, format_timestamp, public_key_entry
from sdk_contract.envelope import Role
from service.errors import Invalid

TRUST_LIFETIME = timedelta(days=365)
MAX_KEYS_PER_ROLE = 16


class InvalidTrustChange(Invalid):
    """The bundle would lock a role out, or give a key two roles."""

    code, title = "invalid_trust_change", "Invalid change of the trust bundle"


def next_bundle(
    bundle: TrustBundle,
    *,
    now: datetime,
    add: Collection[tuple[RoleName, bytes]] = (),
    drop: Collection[tuple[RoleName, str]] = (),
    thresholds: Mapping[RoleName, int] | None = None,
) -> TrustBundle:
    """Return version N+1 of a bundle; without changes it only renews the expiry.

    Args:
        bundle: version N.
        now: the new bundle expires a year from this time.
        add: role and raw public key, 32 bytes.
        drop: role and key id.
        thresholds: role -> number of different keys that must sign.

    Raises:
        InvalidTrustChange: a key would have two roles, a key is unknown, or a role would have too few or too many keys.
    """
    public_keys = {keyid: base64.b64decode(key.public) for keyid, key in bundle.keys.items()}
    role_keys = {role: list(entry.keys) for role, entry in bundle.roles.items()}
    for role, public_key in add:
        _add_key(role_keys, public_keys, role, public_key)
    for role, keyid in drop:
        _drop_key(role_keys, role, keyid)
    new_thresholds = {role: entry.threshold for role, entry in bundle.roles.items()} | dict(thresholds or {})
    _require_reachable(role_keys, new_thresholds)
    used = {keyid for keyids in role_keys.values() for keyid in keyids}
    return TrustBundle(
        version=bundle.version + 1,
        expires=format_timestamp(now + TRUST_LIFETIME),
        keys=dict(public_key_entry(public_keys[keyid]) for keyid in sorted(used)),
        roles={
            role: RoleKeys(keys=keyids, threshold=new_thresholds[role]) for role, keyids in role_keys.items()
        },
    )


def missing_signatures(role: Role, signed_by: Collection[str]) -> int:
    """Return how many more keys of a role must sign; a public key counts once."""
    signers = {role.keys[keyid] for keyid in signed_by if keyid in role.keys}
    return max(0, role.threshold - len(signers))


def _add_key(
    role_keys: dict[RoleName, list[str]], public_keys: dict[str, bytes], role: RoleName, public_key: bytes
) -> None:
    keyid, _entry = public_key_entry(public_key)
    owner = next((name for name, keyids in role_keys.items() if keyid in keyids), None)
    if owner is not None:
        raise InvalidTrustChange(f"key {keyid} is a {owner} key already; every role needs keys of its own")
    if len(role_keys[role]) >= MAX_KEYS_PER_ROLE:
        raise InvalidTrustChange(f"{role} has {MAX_KEYS_PER_ROLE} keys already; drop one first")
    public_keys[keyid] = public_key
    role_keys[role].append(keyid)


def _drop_key(role_keys: dict[RoleName, list[str]], role: RoleName, keyid: str) -> None:
    if keyid not in role_keys[role]:
        raise InvalidTrustChange(f"{keyid} is not a {role} key; use one of {', '.join(role_keys[role])}")
    role_keys[role].remove(keyid)


def _require_reachable(role_keys: Mapping[RoleName, list[str]], thresholds: Mapping[RoleName, int]) -> None:
    for role, keyids in role_keys.items():
        if not 1 <= thresholds[role] <= len(keyids):
            raise InvalidTrustChange(
                f"{role} would have {len(keyids)} keys and a threshold of {thresholds[role]}; "
                "the threshold must be from 1 to the number of keys"
            )
