"""Trust bundles: build the first one, add signatures, find out who has valid."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime

from sdk_contract import strict_json
from sdk_contract.documents import RoleKeys, RoleName, TrustBundle, format_timestamp, public_key_entry
from sdk_contract.envelope import Role, key_id, pae, unverified_payload
from sdk_contract.errors import ContractError
from sdk_contract.signing import Signer
from service.domain.platform.trust_changes import TRUST_LIFETIME

ROLES: tuple[RoleName, ...] = ("root", "publisher", "director", "patcher")


def first_trust_bundle(
    signers: Mapping[RoleName, Sequence[Signer]], *, now: datetime, root_threshold: int = 1
) -> bytes:
    """Version 1 of the trust bundle, in an envelope valid by all root keys.

    Args:
        signers: role -> signers of its keys.
        now: the time of issue; the bundle expires after a year.
        root_threshold: how many root keys must sign each later bundle; other roles have a threshold of one.
    """
    keys_by_role = {
        role: dict(public_key_entry(signer.public_key) for signer in role_signers)
        for role, role_signers in signers.items()
    }
    thresholds = {"root": root_threshold}
    bundle = TrustBundle(
        version=1,
        expires=format_timestamp(now + TRUST_LIFETIME),
        keys={keyid: key for role_keys in keys_by_role.values() for keyid, key in role_keys.items()},
        roles={
            role: RoleKeys(keys=list(role_keys), threshold=thresholds.get(role, 1))
            for role, role_keys in keys_by_role.items()
        },
    )
    return bundle.sign(signers["root"])


def countersign(envelope: bytes, signers: Sequence[Signer]) -> bytes:
    """Add signatures to an envelope, because root keys are kept in different places and sign one after another.

    Raises:
        ContractError: the bytes are not an envelope.
    """
    payload = unverified_payload(envelope, limit=TrustBundle.limit)
    document = strict_json.loads(envelope, limit=TrustBundle.limit)
    message = pae(document["payloadType"], payload)
    new_signatures = {key_id(signer.public_key): signer.sign(message) for signer in signers}
    kept = [entry for entry in document["signatures"] if entry["keyid"] not in new_signatures]
    added = [{"keyid": keyid, "sig": base64.b64encode(sig).decode()} for keyid, sig in new_signatures.items()]
    return strict_json.dumps({**document, "signatures": [*kept, *added]})


def valid_signatures(envelope: bytes, role: Role) -> list[str]:
    """The ids of the role's keys with a valid signature in an envelope, whether or not they reach the threshold.

    Raises:
        ContractError: the bytes are not an envelope.
    """
    valid = []
    for keyid, public_key in role.keys.items():
        try:
            TrustBundle.from_envelope(_with_signature_of(envelope, keyid), Role({keyid: public_key}, 1))
        except ContractError:
            continue
        valid.append(keyid)
    return valid


def _with_signature_of(envelope: bytes, keyid: str) -> bytes:
    """The envelope with the signatures of one key only, so that an invalid signature of another does not matter."""
    document = strict_json.loads(envelope, limit=TrustBundle.limit)
    kept = [entry for entry in document["signatures"] if entry["keyid"] == keyid]
    return strict_json.dumps({**document, "signatures": kept})
