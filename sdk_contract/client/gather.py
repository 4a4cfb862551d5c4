"""All missing components of an order: room, conditions, ways in order, fresh addresses."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sdk_contract.client import reports
from sdk_contract.client.asking import Asker
from sdk_contract.client.errors import NoSpace, UrlExpired
from sdk_contract.client.fetch import Limits
from sdk_contract.client.host import Host, require_met
from sdk_contract.client.obtain import Supply, discard, obtain
from sdk_contract.client.record import Record
from sdk_contract.client.states import State
from sdk_contract.client.steps import Steps
from sdk_contract.client.verify import Order
from sdk_contract.documents import Component
from sdk_contract.errors import ContractError, MixedVersions, Reaction

URL_RENEWALS = 3
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

    def fetch(self, order: Order, missing: list[Component]) -> None:
        """Get every component of `missing`, each by the first way that works.

        Raises:
            OrderChanged: follow the new order instead.
            ContractError: its reaction says what next; files and attempt are kept for a resume.
            OSError: of the disk.
        """
        require_met(order.conditions, self.host.surroundings())
        self._need_space(missing)
        self.steps.meter.budget = self.host.surroundings().byte_budget
        self.steps.move(State.DOWNLOADING, "downloading")
        for part in missing:
            order = self._component(order, part)

    def _need_space(self, missing: list[Component]) -> None:
        """Ask before the first byte; the previous version gives way once the current one has proved itself."""
        store = self.steps.store
        need = int(RESERVE * sum(part.size for part in missing)) + (1 << 20)
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
        supply = Supply(
            self.steps.store, self.steps.meter, self.limits, lambda: self._check(order), self.pause
        )
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
        reports.flush_quietly(self.steps.store, self.asker.api)
        fresh = self.asker.poll()
        same_attempt = fresh.directive.attempt_id == order.directive.attempt_id
        if fresh.release != order.release or not same_attempt:
            raise OrderChanged(fresh)
        return fresh

    def _check(self, order: Order) -> None:
        require_met(order.conditions, self.host.surroundings())


def _forget_previous(record: Record) -> None:
    record.previous = None
