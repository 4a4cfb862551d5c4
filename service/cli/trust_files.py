"""The files of a directory of keys: which bundle is the newest, what the next one is called, who has signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.documents import RoleName, TrustBundle
from sdk_contract.envelope import peek
from sdk_contract.errors import ContractError
from sdk_contract.writing import Signer
from service import signing
from service.cli.http import CliError
from service.domain.trust_changes import InvalidTrustChange, missing_voices, successor
from service.tokens import utc_now


def create_all(directory: Path, *, roots: int = 1, threshold: int = 1) -> Path:
    """Make a key for each role and version 1 of the trust bundle; return the bundle's path.

    Raises:
        FileExistsError: there are keys already.
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
class Ceremony:
    """A directory in which the next trust bundle is made."""

    directory: Path

    def newest(self) -> Path:
        """The bundle with the highest version that its roots have signed enough.

        Raises:
            CliError: there is none.
        """
        found = [path for path in self.directory.glob("trust*.json") if self._complete(path)]
        if not found:
            raise CliError(f"{self.directory} holds no trust bundle; make one with graylag keys init")
        return max(found, key=lambda path: read_bundle(path)[1].version)

    def rotated(self, role: RoleName, threshold: int | None, *, now: datetime) -> Path:
        """Make a key, and a bundle that names it beside those before it; not signed yet.

        A new root key signs at once: it must vouch for itself.
        """
        version = self._latest().version + 1
        path = self._free(version)
        pem = self.directory / f"{role}-v{version}.pem"
        signer = signing.create_key(pem)
        try:
            self._write(path, [(role, signer.public_key)], [], _only(role, threshold), now)
        except InvalidTrustChange:
            pem.unlink()
            raise
        if role == "root":
            path.write_bytes(signing.countersign(path.read_bytes(), [signer]))
        return path

    def with_key(self, role: RoleName, public_key: bytes, threshold: int | None, *, now: datetime) -> Path:
        """A bundle that believes a key which was made elsewhere; not signed yet."""
        path = self._free(self._latest().version + 1)
        return self._write(path, [(role, public_key)], [], _only(role, threshold), now)

    def without(self, role: RoleName, keyid: str, threshold: int | None, *, now: datetime) -> Path:
        """A bundle that believes a key no longer; not signed yet."""
        path = self._free(self._latest().version + 1)
        return self._write(path, [], [(role, keyid)], _only(role, threshold), now)

    def renewed(self, *, now: datetime) -> Path:
        """A bundle with the same keys; not signed yet."""
        return self._write(self._free(self._latest().version + 1), [], [], {}, now)

    def sign(self, path: Path, signers: Sequence[Signer]) -> int:
        """Add signatures; return how many more the bundle needs, of its own roots and of those before it."""
        envelope = signing.countersign(path.read_bytes(), signers)
        path.write_bytes(envelope)
        return self._missing(path)

    def _latest(self) -> TrustBundle:
        return read_bundle(self.newest())[1]

    def _free(self, version: int) -> Path:
        path = self.directory / f"trust-{version}.json"
        if path.exists():
            raise CliError(f"{path} waits for its signatures (graylag keys sign); remove it to begin again")
        return path

    def _write(
        self,
        path: Path,
        add: list[tuple[RoleName, bytes]],
        drop: list[tuple[RoleName, str]],
        thresholds: dict[RoleName, int],
        now: datetime,
    ) -> Path:
        made = successor(self._latest(), now=now, add=add, drop=drop, thresholds=thresholds)
        path.write_bytes(made.seal([]))
        return path

    def _complete(self, path: Path) -> bool:
        return self._missing(path) == 0

    def _missing(self, path: Path) -> int:
        """Signatures that a bundle lacks, the roots of the version before it counted where that is at hand."""
        envelope, bundle = read_bundle(path)
        roles = [bundle.for_role("root")]
        for other in self.directory.glob("trust*.json"):
            before = read_bundle(other)[1]
            if before.version + 1 == bundle.version:
                roles.append(before.for_role("root"))
        return max(missing_voices(role, signing.signed_by(envelope, role)) for role in roles)


def read_bundle(path: Path) -> tuple[bytes, TrustBundle]:
    """A bundle as it lies in a file, whoever has signed it.

    Raises:
        CliError: missing, or no trust bundle.
    """
    try:
        envelope = path.read_bytes()
        return envelope, TrustBundle.from_payload(peek(envelope, limit=TrustBundle.limit))
    except (OSError, ContractError) as error:
        raise CliError(f"{path} is no trust bundle: {error}") from error


def public_key_of(path: Path) -> bytes:
    """The raw public key in a PEM.

    Raises:
        CliError: no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CliError(f"{path} is no PEM of a public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CliError(f"{path} is not Ed25519")
    return key.public_bytes_raw()


def _only(role: RoleName, threshold: int | None) -> dict[RoleName, int]:
    return {} if threshold is None else {role: threshold}
