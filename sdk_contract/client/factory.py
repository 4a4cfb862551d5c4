"""The version that shipped inside the app: verified like any other, and current from the first start."""

from contextlib import suppress
from pathlib import Path

from sdk_contract.client.errors import BaseMissing
from sdk_contract.client.files import publish, replace
from sdk_contract.client.record import Record
from sdk_contract.client.states import State
from sdk_contract.client.store import CHUNK, Store, file_digest, read_bounded
from sdk_contract.client.verify import open_shipped
from sdk_contract.documents import Component, Manifest, TrustBundle
from sdk_contract.errors import ContractError, InputHashMismatch
from sdk_contract.rules import require_allowed


def install_shipped(store: Store, folder: Path, trust: TrustBundle, modules: list[str] | None) -> None:
    """Make the files of `folder` the current version, unless this device has one already.

    Args:
        store: of the device.
        folder: `manifest.json`, an envelope, and the files under the paths that it names.
        trust: whose publishers must have signed it. Expiry is not asked: what shipped may always run.
        modules: the components wanted; absent for all.

    Raises:
        ContractError: signature, digest or size do not fit.
        OSError: a file cannot be read or kept.
    """
    if store.read().current is not None:
        return
    envelope = read_bounded(folder / "manifest.json", Manifest.limit)
    manifest, release = open_shipped(envelope, trust, modules)
    require_allowed(manifest, store.read().memory(), rollback=False)
    for part in release.components:
        _adopt(store, folder / part.path, part)
    replace(store.files, store.manifests / release.manifest_sha256, envelope)
    store.installed(release)

    def step(record: Record) -> None:
        record.state = State.IDLE
        record.model = manifest.model
        record.current = record.shipped = release
        record.floor = max(record.floor, manifest.floor)

    store.change(step)


def bring_back(store: Store, folder: Path, missing: list[Component]) -> list[Component]:
    """Copy what is missing and shipped inside the app: going back to it costs no bytes.

    Args:
        store: of the device.
        folder: as for `install_shipped`; it may be gone, or hold a newer app's files.
        missing: components to get.

    Returns:
        Those that are here now, their digests compared.
    """
    shipped = store.read().shipped
    paths = {part.sha256: part.path for part in shipped.components} if shipped is not None else {}
    found = []
    for part in missing:
        with suppress(ContractError, OSError):
            if part.sha256 in paths:
                _adopt(store, folder / paths[part.sha256], part)
                found.append(part)
    return found


def _adopt(store: Store, path: Path, part: Component) -> None:
    """Copy a shipped file into the object store and compare the *copy*: the original may change."""
    if store.intact(part.sha256, part.size):
        return
    if not path.is_file():
        raise BaseMissing(f"{path} is not here")
    temporary = store.partial / part.sha256
    target = store.files.open(temporary)
    try:
        target.truncate(0)
        offset = 0
        with path.open("rb") as stream:
            while offset <= part.size and (piece := stream.read(CHUNK)):
                target.write(offset, piece)
                offset += len(piece)
    except BaseException:
        target.close()
        raise
    if offset != part.size or file_digest(temporary) != part.sha256:
        target.close()
        store.files.unlink(temporary)
        raise InputHashMismatch(f"{path} is not the {part.name} of the manifest")
    publish(store.files, target, temporary, store.objects / part.sha256)
