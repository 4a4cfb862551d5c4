"""The version that ships with the app: verified like any other, and current from the first start."""

from contextlib import suppress
from pathlib import Path

from sdk_contract.client.protocol.verification import open_factory_manifest
from sdk_contract.client.storage.client_state import ClientState
from sdk_contract.client.storage.file_system import publish_file, write_atomically
from sdk_contract.client.storage.store import CHUNK, Store, file_digest, read_bounded
from sdk_contract.client.storage.update_states import UpdateState
from sdk_contract.documents import Component, Manifest, TrustBundle
from sdk_contract.errors import ContractError, InputHashMismatch
from sdk_contract.patch import BaseMissing
from sdk_contract.verification import check_rollback_protection


def install_factory_version(
    store: Store, folder: Path, trust: TrustBundle, wanted_components: list[str] | None
) -> None:
    """Install the files of `folder` as the current version, unless the device has one already.

    Args:
        store: the device's store.
        folder: contains `manifest.json` (an envelope) and the files under the manifest's paths.
        trust: its publishers must have signed the manifest. Expiry is ignored: a factory version may always run.
        wanted_components: names of the components to install; absent for all.

    Raises:
        ContractError: a signature, digest or size does not match.
        OSError: a file cannot be read or written.
    """
    if store.read_state().current is not None:
        return
    envelope = read_bounded(folder / "manifest.json", Manifest.limit)
    manifest, release = open_factory_manifest(envelope, trust, wanted_components)
    check_rollback_protection(manifest, store.read_state().trust_state(), rollback=False)
    for part in release.components:
        _copy_to_store(store, folder / part.path, part)
    write_atomically(store.file_system, store.manifests / release.manifest_sha256, envelope)
    store.link_release(release)

    def set_current(state: ClientState) -> None:
        state.update_state = UpdateState.IDLE
        state.model = manifest.model
        state.current = state.factory = release
        state.floor = max(state.floor, manifest.floor)

    store.change_state(set_current)


def copy_from_factory(store: Store, folder: Path, missing: list[Component]) -> list[Component]:
    """Copy missing components from the app's factory version, which saves their download.

    Args:
        store: the device's store.
        folder: as for `install_factory_version`; it may be missing, or contain the files of a newer app.
        missing: the components to copy.

    Returns:
        The components that were copied and verified.
    """
    factory = store.read_state().factory
    paths = {part.sha256: part.path for part in factory.components} if factory is not None else {}
    copied = []
    for part in missing:
        with suppress(ContractError, OSError):
            if part.sha256 in paths:
                _copy_to_store(store, folder / paths[part.sha256], part)
                copied.append(part)
    return copied


def _copy_to_store(store: Store, path: Path, part: Component) -> None:
    """Copy a factory file to the objects, and verify the copy because the original may change."""
    if store.verify_object(part.sha256, part.size):
        return
    if not path.is_file():
        raise BaseMissing(f"{path} does not exist")
    temporary = store.partial / part.sha256
    target = store.file_system.open(temporary)
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
        store.file_system.unlink(temporary)
        raise InputHashMismatch(f"{path} does not match the component {part.name} in the manifest")
    publish_file(store.file_system, target, temporary, store.objects / part.sha256)
