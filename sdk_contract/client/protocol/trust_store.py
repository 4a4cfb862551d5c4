"""The device's trust bundle, and its update along the chain of bundles."""

from pathlib import Path

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.protocol.device_api import DeviceApi
from sdk_contract.client.storage.file_system import FileSystem, write_atomically
from sdk_contract.client.storage.store import read_bounded
from sdk_contract.documents import TrustBundle
from sdk_contract.errors import ContractError

MAX_PAGES = 8
"""Maximum number of requests for newer bundles per poll, against a server with an endless chain."""


class TrustStore:
    """The trust bundle in `trust.json`. The first comes with the app; each later one is signed by its predecessor."""

    def __init__(self, directory: Path, file_system: FileSystem) -> None:
        """Read the bundle from disk.

        Raises:
            StateDamaged: the file is missing or corrupt.
        """
        self._path = directory / "trust.json"
        self._file_system = file_system
        try:
            self.bundle = TrustBundle.from_initial_envelope(read_bounded(self._path, TrustBundle.limit))
        except (OSError, ContractError) as error:
            raise StateDamaged(f"{self._path}: {error}") from error

    @classmethod
    def install(cls, directory: Path, file_system: FileSystem, envelope: bytes) -> "TrustStore":
        """Store the operator's bundle, unless a newer one is already stored.

        Raises:
            ContractError: the bundle is not signed by its own root keys.
        """
        offered = TrustBundle.from_initial_envelope(envelope)
        try:
            stored_version = cls(directory, file_system).bundle.version
        except StateDamaged:
            stored_version = -1
        if stored_version < offered.version:
            write_atomically(file_system, directory / "trust.json", envelope)
        return cls(directory, file_system)

    def follow_to(self, api: DeviceApi, announced: int | None) -> None:
        """Verify and store the bundles N+1, N+2, ... up to the version that the server announced.

        Raises:
            ContractError: a bundle is invalid; the bundles before it are stored.
        """
        for _ in range(MAX_PAGES):
            if announced is None or announced <= self.bundle.version or not self._fetch_page(api):
                return

    def follow_to_end(self, api: DeviceApi) -> bool:
        """Verify and store all newer bundles; returns whether there was any.

        Raises:
            ContractError: a bundle is invalid; the bundles before it are stored.
        """
        before = self.bundle.version
        for _ in range(MAX_PAGES):
            if not self._fetch_page(api):
                break
        return self.bundle.version > before

    def _fetch_page(self, api: DeviceApi) -> bool:
        envelopes = api.trust_bundles_after(self.bundle.version)
        for envelope in envelopes:
            successor = self.bundle.verify_successor(envelope)
            write_atomically(self._file_system, self._path, envelope)
            self.bundle = successor
        return bool(envelopes)
