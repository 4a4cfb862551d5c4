"""The trust bundle that this device believes, and how it comes by the next one."""

from pathlib import Path

from sdk_contract.client.api import DeviceApi
from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.files import Files, replace
from sdk_contract.client.store import read_bounded
from sdk_contract.documents import TrustBundle
from sdk_contract.errors import ContractError

MAX_PAGES = 8
"""Answers of the trust endpoint that one poll follows; a server that announces without end is not obeyed."""


class TrustStore:
    """`trust.json`: an envelope; the first came with the app, each later one was signed by the one before."""

    def __init__(self, directory: Path, files: Files) -> None:
        """Read the bundle.

        Raises:
            StateDamaged: missing, or not what was written here.
        """
        self._path = directory / "trust.json"
        self._files = files
        try:
            self.bundle = TrustBundle.open_first(read_bounded(self._path, TrustBundle.limit))
        except (OSError, ContractError) as error:
            raise StateDamaged(f"{self._path}: {error}") from error

    @classmethod
    def install(cls, directory: Path, files: Files, envelope: bytes) -> "TrustStore":
        """Believe the bundle that the operator hands over, unless a later one is here already.

        Raises:
            ContractError: it does not vouch for itself.
        """
        offered = TrustBundle.open_first(envelope)
        try:
            held = cls(directory, files).bundle.version
        except StateDamaged:
            held = -1
        if held < offered.version:
            replace(files, directory / "trust.json", envelope)
        return cls(directory, files)

    def follow(self, api: DeviceApi, announced: int | None) -> None:
        """Walk the chain N+1, N+2 ... to what the server announces; each step is kept once it is verified.

        Raises:
            ContractError: a link does not hold; the links before it do.
        """
        for _ in range(MAX_PAGES):
            if announced is None or announced <= self.bundle.version or not self._page(api):
                return

    def look_further(self, api: DeviceApi) -> bool:
        """Walk to the end of the chain, whatever was announced; false where nothing new was there.

        Raises:
            ContractError: a link does not hold; the links before it do.
        """
        before = self.bundle.version
        for _ in range(MAX_PAGES):
            if not self._page(api):
                break
        return self.bundle.version > before

    def _page(self, api: DeviceApi) -> bool:
        links = api.trust_after(self.bundle.version)
        for envelope in links:
            successor = self.bundle.open_next(envelope)
            replace(self._files, self._path, envelope)
            self.bundle = successor
        return bool(links)
