"""Which components a device holds: any subset, always of one version."""

from sdk_contract.client.errors import Busy
from sdk_contract.client.record import Record
from sdk_contract.client.states import State
from sdk_contract.client.store import Store, read_bounded
from sdk_contract.documents import Manifest
from sdk_contract.envelope import peek
from sdk_contract.errors import MixedVersions

_FIXED = frozenset({State.STAGED, State.ACTIVATING, State.PROBATION, State.ROLLING_BACK})


def keep_only(store: Store, modules: list[str] | None) -> None:
    """Drop what is no longer wanted of the current version; what is newly wanted comes with an update.

    Raises:
        MixedVersions: the current version has no such module.
        Busy: a version is being tried; its set is fixed until that is decided.
    """
    if store.read().state in _FIXED:
        raise Busy("a version is on trial")
    known = _known_modules(store)
    absent = sorted(set(modules or []) - known) if known else []
    if absent:
        raise MixedVersions(f"the current version has no module {', '.join(absent)}")

    def step(record: Record) -> None:
        if record.current is not None and modules is not None:
            kept = [part for part in record.current.components if part.name in modules]
            record.current = record.current.model_copy(update={"components": kept})

    store.collect(store.change(step))


def _known_modules(store: Store) -> set[str]:
    """Names in the manifest of the current version; it was verified before it was kept."""
    current = store.read().current
    if current is None:
        return set()
    envelope = read_bounded(store.manifests / current.manifest_sha256, Manifest.limit)
    variant = Manifest.from_payload(peek(envelope, limit=Manifest.limit)).variant(current.variant)
    return {part.name for part in variant.components} if variant else set()
