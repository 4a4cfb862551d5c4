"""All missing components of an order: room, conditions, ways in order, fresh addresses."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sdk_contract.client import reports
from sdk_contract.client.asking import Asker
from sdk_contract.client.errors import BaseMissing, NoSpace, UrlExpired
from sdk_contract.client.fetch import Limits
from sdk_contract.client.host import Host, require_met
from sdk_contract.client.obtain import Supply, discard, keep_patch, obtain
from sdk_contract.client.record import InPlaceStep, Record
from sdk_contract.client.states import State
from sdk_contract.client.steps import Steps
from sdk_contract.client.undo_log import MAX_RANGE
from sdk_contract.client.verify import Order
from sdk_contract.documents import Component, PatchDescriptor
from sdk_contract.errors import ContractError, MixedVersions, Reaction

URL_RENEWALS = 3
LONG = 8 << 20
"""Bytes from which on a download is worth a report of its own, so that an operator sees it happen."""
LOG_PER_PATCH = 3
"""Room for a patch and its undo log, as a multiple of the patch: plain byte differences code a little worse."""
RESERVE = 1.1
"""Free space asked for, as a multiple of what will be written."""


class OrderChanged(Exception):
    """Asked for fresh addresses, the server ordered something else.

    Attributes:
        order: the new one, verified.
    """

    def __init__(self, order: Order) -> None:
        """Keep the new order."""
        super().__init__(order.directive.reason)
        self.order = order


@dataclass(slots=True)
class Gather:
    """Fetches what an order needs into the object store."""

    steps: Steps
    asker: Asker
    host: Host
    limits: Limits
    pause: Callable[[float], None] = time.sleep
    low_storage: bool = False

    def fetch(self, order: Order, missing: list[Component]) -> list[InPlaceStep]:
        """Get every component of `missing`, each by the first way that works.

        Returns:
            What is still to be done in place, for which only the patches were fetched.

        Raises:
            OrderChanged: follow the new order instead.
            ContractError: its reaction says what next; files and attempt are kept for a resume.
            OSError: of the disk.
        """
        require_met(order.conditions, self.host)
        inside = self._in_place(order, missing) if self.low_storage else {}
        beside = [part for part in missing if part.name not in inside]
        self._need_space(beside, [descriptor for _, descriptor in inside.values()])
        self.steps.meter.budget = self.host.surroundings().byte_budget
        self.steps.move(State.DOWNLOADING, "downloading")
        if sum(part.size for part in missing) >= LONG:
            reports.flush_quietly(self.steps.store, self.asker.api)
        for part in beside:
            order = self._component(order, part)
        for name in inside:
            order = self._patch_only(order, name)
        return [step for step, _ in inside.values()]

    def _in_place(
        self, order: Order, missing: list[Component]
    ) -> dict[str, tuple[InPlaceStep, PatchDescriptor]]:
        """Components that a patch can update inside their own file: one that nothing else refers to."""
        no_patch = self.steps.attempt().no_patch
        failed = self.steps.store.read().failed_patches
        found = {}
        for part in missing:
            descriptor = _patch_of(order, part.name)
            if descriptor is None or part.name in no_patch or descriptor.patch.sha256 in failed:
                continue
            if self._is_own(descriptor, order):
                found[part.name] = (self._step(part.name, descriptor), descriptor)
        return found

    def _step(self, name: str, descriptor: PatchDescriptor) -> InPlaceStep:
        return InPlaceStep(
            name=name,
            source=descriptor.source,
            target=descriptor.target,
            patch_sha256=descriptor.patch.sha256,
            index_sha256=descriptor.index_sha256 or "",
            range_size=min(self.limits.range_bytes, MAX_RANGE),
        )

    def _is_own(self, descriptor: PatchDescriptor, order: Order) -> bool:
        """Is the source whole, and the file of one component of the current version only?"""
        source, store = descriptor.source, self.steps.store
        current = store.read().current
        kept = [
            *(current.components if current else []),
            *(order.release.components if order.release else []),
        ]
        alone = sum(part.sha256 == source.sha256 for part in kept) == 1
        return alone and store.intact(source.sha256, source.size)

    def _patch_only(self, order: Order, name: str) -> Order:
        """Fetch the whole patch before anything is overwritten: what follows must not need a network."""
        for _ in range(URL_RENEWALS):
            route = next((route for route in order.routes[name] if route.descriptor is not None), None)
            if route is None or route.descriptor is None:
                raise BaseMissing(f"{name}: the patch is no longer offered")
            try:
                keep_patch(self._supply(order), name, route.descriptor.patch, route.way.url)
            except UrlExpired:
                order = self._renewed(order)
                continue
            self._note_way(route.way.format)
            return order
        raise UrlExpired(f"{name}: {URL_RENEWALS} addresses did not serve the patch")

    def _need_space(self, beside: list[Component], inside: list[PatchDescriptor]) -> None:
        """Ask before the first byte; the previous version gives way once the current one has proved itself."""
        store = self.steps.store
        patches = sum(descriptor.patch.size for descriptor in inside)
        slots = 2 * self.limits.range_bytes if inside else 0
        whole = sum(part.size - min(part.size, store.partial_size(part.sha256)) for part in beside)
        need = int(RESERVE * (whole + LOG_PER_PATCH * patches)) + slots + (1 << 20)
        if store.files.free_bytes(store.directory) >= need:
            return
        store.collect(store.change(_forget_previous))
        free = store.files.free_bytes(store.directory)
        if free < need:
            raise NoSpace(f"{need} bytes needed, {free} free")

    def _component(self, order: Order, part: Component) -> Order:
        """Try the ways; returns the order whose addresses are the freshest."""
        for _ in range(URL_RENEWALS):
            try:
                self._by_some_way(order, part)
            except UrlExpired:
                order = self._renewed(order)
                continue
            return order
        raise UrlExpired(f"{part.name}: {URL_RENEWALS} addresses did not serve it")

    def _by_some_way(self, order: Order, part: Component) -> None:
        supply = self._supply(order)
        no_patch = part.name in self.steps.attempt().no_patch
        fault: ContractError = MixedVersions(f"{part.name}: no usable way {', '.join(order.skipped)}")
        for route in order.routes.get(part.name, []):
            if route.descriptor is not None and no_patch:
                continue
            try:
                obtain(supply, part, route)
            except ContractError as error:
                if error.reaction is not Reaction.FULL:
                    raise
                fault, no_patch = error, True
                discard(supply, part)
                self._note_fault(part, error)
                continue
            self._note_way(route.way.format)
            return
        raise fault

    def _note_fault(self, part: Component, fault: ContractError) -> None:
        """Patches of this component are over for this attempt; the server hears why."""

        def edit(record: Record) -> None:
            if record.attempt is not None and part.name not in record.attempt.no_patch:
                record.attempt.no_patch.append(part.name)

        self.steps.move(State.DOWNLOADING, "downloading", fault=fault, edit=edit)

    def _note_way(self, way: str) -> None:
        def edit(record: Record) -> None:
            if record.attempt is not None:
                record.attempt.way = way if record.attempt.way in (None, way) else "mixed"

        self.steps.move(State.DOWNLOADING, edit=edit)

    def _renewed(self, order: Order) -> Order:
        """Ask again inside the attempt: same version, fresh addresses."""
        try:
            fresh = self.asker.poll()
        except ContractError as fault:  # a bad answer to this question is no fault of the download
            raise UrlExpired(f"no fresh address: {fault}") from fault
        same_attempt = fresh.directive.attempt_id == order.directive.attempt_id
        if fresh.release != order.release or not same_attempt:
            raise OrderChanged(fresh)
        return fresh

    def _supply(self, order: Order) -> Supply:
        return Supply(self.steps.store, self.steps.meter, self.limits, lambda: self._check(order), self.pause)

    def _check(self, order: Order) -> None:
        require_met(order.conditions, self.host)


def _patch_of(order: Order, name: str) -> PatchDescriptor | None:
    descriptors = (route.descriptor for route in order.routes.get(name, []))
    return next((descriptor for descriptor in descriptors if descriptor is not None), None)


def _forget_previous(record: Record) -> None:
    record.previous = None
