"""The poll: what this device says of itself, and the order that a verified answer gives."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sdk_contract.client import reports
from sdk_contract.client.api import DeviceApi
from sdk_contract.client.host import Host
from sdk_contract.client.identity import Configuration
from sdk_contract.client.record import Record
from sdk_contract.client.store import Store
from sdk_contract.client.trust import TrustStore
from sdk_contract.client.verify import Order, check_answer
from sdk_contract.errors import ContractError, ThresholdNotMet, UnknownKey
from sdk_contract.rules import Question, agree, moment
from sdk_contract.wire import Event, PollAnswer, PollRequest

ACCEPTS = ["glp1", "full"]


@dataclass(slots=True)
class Asker:
    """Polls, and believes nothing that is not signed in answer to this very poll.

    Attributes:
        holds: a staged version can wait beside the one that runs; not so where files change in place.
    """

    store: Store
    api: DeviceApi
    configuration: Configuration
    trust: TrustStore
    host: Host
    holds: bool = True

    def poll(self) -> Order:
        """Ask once.

        Raises:
            ContractError: no answer, or one that breaks a rule; then the server is told which.
            OSError: the time of the check could not be noted.
        """
        record = self.store.read()
        model = self.configuration.model or record.model
        nonce = secrets.token_urlsafe(24)
        body = self._request(record, model, nonce).model_dump_json(exclude_none=True).encode()
        asked = time.monotonic()
        answer = self.api.poll(body)
        self.trust.follow(self.api, answer.trust_version)

        def check() -> Order:
            elapsed, modules = time.monotonic() - asked, self.configuration.modules
            question = Question(body, self.configuration.device_id, model, nonce, elapsed, modules)
            return check_answer(answer, question, self.trust.bundle, record, self.host.now())

        try:
            order = self._checked(check)
        except ContractError as fault:
            self._report(answer, fault)
            raise
        self.store.change(lambda entry: _remember(entry, order, self.host.now()))
        return order

    def _checked(self, check: Callable[[], Order]) -> Order:
        """Check; keys that nobody knows here may be those of a newer bundle that the server forgot to announce."""
        try:
            return check()
        except (UnknownKey, ThresholdNotMet) as fault:
            try:
                found = self.trust.look_further(self.api)
            except ContractError:
                raise fault from None
            if not found:
                raise
        return check()

    def _request(self, record: Record, model: str | None, nonce: str) -> PollRequest:
        held = record.current
        return PollRequest(
            device_id=self.configuration.device_id,
            current_version=held.version if held else None,
            model=model,
            components={part.name: part.sha256 for part in held.components} if held else {},
            modules=self.configuration.modules,
            attributes=self.configuration.attributes,
            accepts=ACCEPTS,
            nonce=nonce,
            trust_version=self.trust.bundle.version,
            previous_version=record.previous.version if record.previous else None,
            factory_version=record.shipped.version if record.shipped else None,
            staged_version=record.waiting.version if record.waiting else None,
            features=["hold"] if self.holds else [],
        )

    def _report(self, answer: PollAnswer, fault: ContractError) -> None:
        """Say which rule was broken, as Uptane asks: a forgery is news for the operator."""
        now = self.host.now().timestamp()
        event = Event(
            event_id=reports.event_id(now),
            attempt_id=answer.attempt_id[:64] if answer.attempt_id else None,
            state="rejected",
            code=fault.code,
            detail=reports.sendable(fault.detail),
        )
        self.store.change(lambda record: reports.queue(record, event))


def _remember(record: Record, order: Order, now: datetime) -> None:
    record.model = order.directive.model
    if agree(moment(order.directive.issued), now):
        record.newest_issued = max(record.newest_issued, order.directive.issued)
    record.last_checked = now.timestamp()
    record.next_poll_s = order.directive.next_poll_s
