"""The poll: sends the device's current state, and returns the verified update."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sdk_contract.client.host.conditions import Host
from sdk_contract.client.protocol import events
from sdk_contract.client.protocol.device_api import DeviceApi
from sdk_contract.client.protocol.trust_store import TrustStore
from sdk_contract.client.protocol.verification import VerifiedUpdate, verify_poll_response
from sdk_contract.client.storage.client_state import ClientState
from sdk_contract.client.storage.identity import DeviceConfiguration
from sdk_contract.client.storage.store import Store
from sdk_contract.errors import ContractError, ThresholdNotMet, UnknownKey
from sdk_contract.formats import FULL, GLP1
from sdk_contract.verification import PollContext, clocks_agree, parse_timestamp
from sdk_contract.wire import Event, PollRequest, PollResponse

ACCEPTS = [GLP1, FULL]


@dataclass(slots=True)
class Poller:
    """Polls the server. A response counts only if it is signed for exactly this poll.

    Attributes:
        supports_deferred_activation: whether a staged version can wait; an in-place update cannot.
    """

    store: Store
    api: DeviceApi
    configuration: DeviceConfiguration
    trust: TrustStore
    host: Host
    supports_deferred_activation: bool = True

    def poll(self) -> VerifiedUpdate:
        """Poll once, verify the response, and record the time of the check.

        Raises:
            ContractError: no response arrived, or it broke a rule, which is then reported to the server.
            OSError: the state could not be written.
        """
        state = self.store.read_state()
        model = self.configuration.model or state.model
        nonce = secrets.token_urlsafe(24)
        body = self._request(state, model, nonce).model_dump_json(exclude_none=True).encode()
        sent_at = time.monotonic()
        response = self.api.poll(body)
        self.trust.follow_to(self.api, response.trust_version)

        def verify() -> VerifiedUpdate:
            elapsed, wanted_components = time.monotonic() - sent_at, self.configuration.wanted_components
            context = PollContext(
                body, self.configuration.device_id, model, nonce, elapsed, wanted_components
            )
            return verify_poll_response(response, context, self.trust.bundle, state, self.host.now())

        try:
            update = self._verify_with_newer_keys(verify)
        except ContractError as fault:
            self._report_rejection(response, fault)
            raise
        self.store.change_state(lambda latest: _record_check(latest, update, self.host.now()))
        return update

    def _verify_with_newer_keys(self, verify: Callable[[], VerifiedUpdate]) -> VerifiedUpdate:
        """Verify; on an unknown key, look for newer trust bundles that the server did not announce, and retry."""
        try:
            return verify()
        except (UnknownKey, ThresholdNotMet) as fault:
            try:
                has_newer = self.trust.follow_to_end(self.api)
            except ContractError:
                raise fault from None
            if not has_newer:
                raise
        return verify()

    def _request(self, state: ClientState, model: str | None, nonce: str) -> PollRequest:
        current = state.current
        return PollRequest(
            device_id=self.configuration.device_id,
            current_version=current.version if current else None,
            model=model,
            components={part.name: part.sha256 for part in current.components} if current else {},
            wanted_components=self.configuration.wanted_components,
            attributes=self.configuration.attributes,
            accepts=ACCEPTS,
            nonce=nonce,
            trust_version=self.trust.bundle.version,
            previous_version=state.previous.version if state.previous else None,
            factory_version=state.factory.version if state.factory else None,
            staged_version=state.deferred_release.version if state.deferred_release else None,
            features=["deferred_activation"] if self.supports_deferred_activation else [],
        )

    def _report_rejection(self, response: PollResponse, fault: ContractError) -> None:
        """Queue an event that names the broken rule, as Uptane requires, so that operators learn of forgeries."""
        now = self.host.now().timestamp()
        event = Event(
            event_id=events.new_event_id(now),
            attempt_id=response.attempt_id[:64] if response.attempt_id else None,
            state="rejected",
            code=fault.code,
            detail=events.encodable_text(fault.detail),
        )
        self.store.change_state(lambda state: events.enqueue(state, event))


def _record_check(state: ClientState, update: VerifiedUpdate, now: datetime) -> None:
    state.model = update.directive.model
    if clocks_agree(parse_timestamp(update.directive.issued), now):
        state.newest_issued = max(state.newest_issued, update.directive.issued)
    state.last_verified_check_at = now.timestamp()
    state.next_poll_s = update.directive.next_poll_s
