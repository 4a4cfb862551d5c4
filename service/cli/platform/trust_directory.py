"""A directory of keys and trust bundles: find the newest bundle, create the next one, and sign it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.documents import RoleName, TrustBundle
from sdk_contract.envelope import unverified_payload
from sdk_contract.errors import ContractError
from sdk_contract.signing import Signer
from service.cli.errors import CliError
from service.domain.platform.trust_changes import InvalidTrustChange, missing_signatures, next_bundle
from service.infrastructure import signing
from service.infrastructure.clock import utc_now


def create_keys(directory: Path, *, roots: int = 1, threshold: int = 1) -> Path:
    """Create a key for each role and version 1 of the trust bundle; return the bundle's path.

    Args:
        directory: where to write; created if it does not exist.
        roots: number of root keys.
        threshold: number of root keys that must sign.

    Raises:
        FileExistsError: the directory contains keys already.
    """
    names = {role: [f"{role}.pem"] for role in signing.ROLES}
    if roots > 1:
        names["root"] = [f"root-{number}.pem" for number in range(1, roots + 1)]
    signers = {role: [signing.create_key(directory / name) for name in held] for role, held in names.items()}
    bundle = directory / "trust.json"
    envelope = signing.first_trust_bundle(signers, now=utc_now(), root_threshold=threshold)
    with bundle.open("xb") as file:
        file.write(envelope)
    return bundle


@dataclass(frozen=True, slots=True)
class TrustDirectory:
    """A directory with trust bundles; each change writes the next version as a new file."""

    directory: Path

    def newest(self) -> Path:
        """The bundle with the highest version that has enough root signatures.

        Raises:
            CliError: there is none.
        """
        found = [path for path in self.directory.glob("trust*.json") if self._missing_signatures(path) == 0]
        if not found:
            raise CliError(
                f"{self.directory} contains no trust bundle; create one with graylag keys init, or use --keys"
            )
        return max(found, key=lambda path: read_bundle(path)[1].version)

    def rotate(self, role: RoleName, threshold: int | None, *, now: datetime) -> Path:
        """Create a key, and an unsigned bundle that lists it beside the existing ones.

        A new root key signs the bundle at once, because a bundle must be signed by the root keys it lists.
        """
        version = self._latest().version + 1
        path = self._new_path(version)
        pem = self.directory / f"{role}-v{version}.pem"
        signer = signing.create_key(pem)
        try:
            self._write(path, [(role, signer.public_key)], [], _thresholds(role, threshold), now)
        except InvalidTrustChange:
            pem.unlink()
            raise
        if role == "root":
            path.write_bytes(signing.countersign(path.read_bytes(), [signer]))
        return path

    def add_key(self, role: RoleName, public_key: bytes, threshold: int | None, *, now: datetime) -> Path:
        """Write an unsigned bundle with a key that was created elsewhere."""
        path = self._new_path(self._latest().version + 1)
        return self._write(path, [(role, public_key)], [], _thresholds(role, threshold), now)

    def remove_key(self, role: RoleName, keyid: str, threshold: int | None, *, now: datetime) -> Path:
        """Write an unsigned bundle without a key."""
        path = self._new_path(self._latest().version + 1)
        return self._write(path, [], [(role, keyid)], _thresholds(role, threshold), now)

    def renew(self, *, now: datetime) -> Path:
        """Write an unsigned bundle with the same keys and a later expiry."""
        return self._write(self._new_path(self._latest().version + 1), [], [], {}, now)

    def sign(self, path: Path, signers: Sequence[Signer]) -> int:
        """Add signatures; return how many root signatures are still missing."""
        path.write_bytes(signing.countersign(path.read_bytes(), signers))
        return self._missing_signatures(path)

    def _latest(self) -> TrustBundle:
        return read_bundle(self.newest())[1]

    def _new_path(self, version: int) -> Path:
        path = self.directory / f"trust-{version}.json"
        if path.exists():
            raise CliError(
                f"{path} exists and lacks signatures; sign it with graylag keys sign, or delete it to start over"
            )
        return path

    def _write(
        self,
        path: Path,
        add: list[tuple[RoleName, bytes]],
        drop: list[tuple[RoleName, str]],
        thresholds: dict[RoleName, int],
        now: datetime,
    ) -> Path:
        bundle = next_bundle(self._latest(), now=now, add=add, drop=drop, thresholds=thresholds)
        path.write_bytes(bundle.sign([]))
        return path

    def _missing_signatures(self, path: Path) -> int:
        """Root signatures that a bundle lacks: its own, and those of the previous version if that file is present."""
        envelope, bundle = read_bundle(path)
        roles = [bundle.for_role("root")]
        for other in self.directory.glob("trust*.json"):
            previous = read_bundle(other)[1]
            if previous.version + 1 == bundle.version:
                roles.append(previous.for_role("root"))
        return max(missing_signatures(role, signing.valid_signatures(envelope, role)) for role in roles)


def read_bundle(path: Path) -> tuple[bytes, TrustBundle]:
    """A trust bundle file: the envelope and its content. Signatures are not verified.

    Raises:
        CliError: the file is missing or is not a trust bundle.
    """
    try:
        envelope = path.read_bytes()
        return envelope, TrustBundle.from_payload(unverified_payload(envelope, limit=TrustBundle.limit))
    except (OSError, ContractError) as error:
        raise CliError(f"{path} is not a trust bundle: {error}") from error


def read_public_key(path: Path) -> bytes:
    """The raw Ed25519 public key in a PEM file, 32 bytes.

    Raises:
        CliError: the file is missing, or holds no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CliError(f"{path} is not a PEM file with a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CliError(f"{path} does not hold an Ed25519 key; other algorithms are not supported")
    return key.public_bytes_raw()


def _thresholds(role: RoleName, threshold: int | None) -> dict[RoleName, int]:
    return {} if threshold is None else {role: threshold}
