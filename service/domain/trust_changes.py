"""The trust bundle that follows another: keys come in one version and leave in a later one.

A fleet that polls is never all on one bundle. So a new key is *added* beside the old one, which goes on
being believed, and is dropped by a later bundle, once devices have had time to follow.
"""

import base64
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sdk_contract.documents import RoleKeys, RoleName, TrustBundle, public_key_entry, timestamp
from sdk_contract.envelope import Role
from service.errors import Invalid

TRUST_LIFETIME = timedelta(days=365)


class InvalidTrustChange(Invalid):
    """A bundle that would lock a role out, or blur who may do what."""

    code, title = "invalid_trust_change", "Invalid change of the trust bundle"


def successor(
    bundle: TrustBundle,
    *,
    now: datetime,
    add: Collection[tuple[RoleName, bytes]] = (),
    drop: Collection[tuple[RoleName, str]] = (),
    thresholds: Mapping[RoleName, int] | None = None,
) -> TrustBundle:
    """Version N+1; with no change at all it renews the expiry.

    Args:
        bundle: version N.
        now: the new bundle lives for a year from here.
        add: role and raw public key, 32 bytes.
        drop: role and key id.
        thresholds: role -> how many different keys must sign from now on.

    Raises:
        InvalidTrustChange: a key in two roles, an unknown key, or fewer keys than the threshold.
    """
    keys = {keyid: base64.b64decode(key.public) for keyid, key in bundle.keys.items()}
    held = {role: list(entry.keys) for role, entry in bundle.roles.items()}
    for role, public_key in add:
        _add(held, keys, role, public_key)
    for role, keyid in drop:
        _drop(held, role, keyid)
    wanted = {role: entry.threshold for role, entry in bundle.roles.items()} | dict(thresholds or {})
    _require_reachable(held, wanted)
    used = {keyid for ids in held.values() for keyid in ids}
    return TrustBundle(
        version=bundle.version + 1,
        expires=timestamp(now + TRUST_LIFETIME),
        keys=dict(public_key_entry(keys[keyid]) for keyid in sorted(used)),
        roles={role: RoleKeys(keys=ids, threshold=wanted[role]) for role, ids in held.items()},
    )


def missing_voices(role: Role, signed_by: Collection[str]) -> int:
    """How many more keys of a role have to sign."""
    voices = {role.keys[keyid] for keyid in signed_by if keyid in role.keys}
    return max(0, role.threshold - len(voices))


def _add(held: dict[RoleName, list[str]], keys: dict[str, bytes], role: RoleName, public_key: bytes) -> None:
    keyid, _entry = public_key_entry(public_key)
    owner = next((name for name, ids in held.items() if keyid in ids), None)
    if owner is not None:
        raise InvalidTrustChange(f"key {keyid} is a {owner} key already; every role has keys of its own")
    if len(held[role]) >= 16:
        raise InvalidTrustChange(f"{role} has 16 keys already; drop one first")
    keys[keyid] = public_key
    held[role].append(keyid)


def _drop(held: dict[RoleName, list[str]], role: RoleName, keyid: str) -> None:
    if keyid not in held[role]:
        raise InvalidTrustChange(f"{keyid} is no {role} key; those are {', '.join(held[role])}")
    held[role].remove(keyid)


def _require_reachable(held: Mapping[RoleName, list[str]], thresholds: Mapping[RoleName, int]) -> None:
    for role, ids in held.items():
        if not 1 <= thresholds[role] <= len(ids):
            raise InvalidTrustChange(
                f"{role} would have {len(ids)} keys and need {thresholds[role]}: nobody could ever sign"
            )
