"""Selection of the components on a device: any subset, always of one version."""

from sdk_contract.client.errors import Busy
from sdk_contract.client.storage.client_state import ClientState
from sdk_contract.client.storage.store import Store, read_bounded
from sdk_contract.client.storage.update_states import UpdateState
from sdk_contract.documents import Manifest
from sdk_contract.envelope import unverified_payload
from sdk_contract.errors import MixedVersions

_TRIAL_STATES = frozenset(
    {UpdateState.STAGED, UpdateState.ACTIVATING, UpdateState.PROBATION, UpdateState.ROLLING_BACK}
)


def drop_unwanted_components(store: Store, wanted_components: list[str] | None) -> None:
    """Delete unwanted components of the current version. Newly wanted ones come with the next update.

    Raises:
        MixedVersions: the current version has no such component.
        Busy: a version is on trial, so its components cannot change.
    """
    if store.read_state().update_state in _TRIAL_STATES:
        raise Busy("a version is on trial; try again after its commit or rollback")
    known = _known_components(store)
    absent = sorted(set(wanted_components or []) - known) if known else []
    if absent:
        raise MixedVersions(f"the current version has no component {', '.join(absent)}")

    def keep_wanted(state: ClientState) -> None:
        if state.current is not None and wanted_components is not None:
            kept = [part for part in state.current.components if part.name in wanted_components]
            state.current = state.current.model_copy(update={"components": kept})

    store.collect_garbage(store.change_state(keep_wanted))


def _known_components(store: Store) -> set[str]:
    """Component names in the stored manifest of the current version, which was verified before it was stored."""
    current = store.read_state().current
    if current is None:
        return set()
    envelope = read_bounded(store.manifests / current.manifest_sha256, Manifest.limit)
    variant = Manifest.from_payload(unverified_payload(envelope, limit=Manifest.limit)).variant(
        current.variant
    )
    return {part.name for part in variant.components} if variant else set()
