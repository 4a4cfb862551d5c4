"""The server's device API as calls: enrol, poll, report, follow the trust chain."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sdk_contract import strict_json
from sdk_contract.client import transport
from sdk_contract.client.errors import Pending, Refused, Unreachable
from sdk_contract.client.identity import Configuration, DeviceKey
from sdk_contract.wire import Event, EventsAnswer, PollAnswer, TokenAnswer, TokenRequest

_UNAUTHORIZED = 401
_EARLY_S = 30.0
_Answer = TypeVar("_Answer", bound=BaseModel)


class DeviceApi:
    """Calls of one device; holds its access token in memory only."""

    def __init__(
        self, configuration: Configuration, key: DeviceKey, *, timeout: float = transport.TIMEOUT_S
    ) -> None:
        """Remember whom to call, and as whom; no request yet."""
        self._base = transport.require_private(configuration.server, plain_http=configuration.plain_http)
        self._device_id = configuration.device_id
        self._key = key
        self._timeout = timeout
        self._token: str | None = None
        self._token_ends = 0.0
        self._clock_off_s = 0

    def enrol(self, enrolment_token: str, configuration: Configuration) -> TokenAnswer:
        """Introduce this device; safe to repeat with the same key.

        Raises:
            ContractError: refused, or no answer.
        """
        body = self._key.enrolment(configuration.device_id, enrolment_token, configuration.attributes)
        reply = self._post("/v1/device/enroll", _encode(body), token=None)
        return self._keep(_parse(TokenAnswer, reply.body))

    def poll(self, body: bytes) -> PollAnswer:
        """Send the poll, byte for byte; the answer is not verified yet.

        Raises:
            ContractError: refused, or no answer.
        """
        reply = self._authorised(lambda token: self._post("/v1/model/update", body, token=token))
        return _parse(PollAnswer, reply.body)

    def report(self, events: Sequence[Event]) -> EventsAnswer:
        """Hand over a batch of at most `wire.MAX_EVENTS` events.

        Raises:
            ContractError: refused, or no answer; the events stay with the caller.
        """
        body = json.dumps([event.model_dump(mode="json", exclude_none=True) for event in events]).encode()
        reply = self._authorised(lambda token: self._post("/v1/model/events", body, token=token))
        return _parse(EventsAnswer, reply.body)

    def trust_after(self, version: int) -> list[bytes]:
        """Envelopes of the bundles that follow `version`, oldest first; nothing verified yet.

        Raises:
            ContractError: refused, or no answer.
        """
        url = f"{self._base}/v1/trust?after={version}"
        reply = transport.call("GET", url, timeout=self._timeout)
        try:
            bundles: list[Any] = json.loads(reply.body)["bundles"]
            return [strict_json.dumps(bundle) for bundle in bundles[:256]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Unreachable("the answer of /v1/trust is not one") from error

    def _authorised(self, send: Callable[[str], transport.Reply]) -> transport.Reply:
        if self._token is None or time.monotonic() > self._token_ends:
            self._renew()
        try:
            return send(self._bearer())
        except Refused as refusal:
            if refusal.status != _UNAUTHORIZED:
                raise
        self._renew()
        return send(self._bearer())

    def _renew(self) -> None:
        """Ask for a token; where our clock is wrong, once more by the server's."""
        try:
            self._ask_for_token()
        except Refused as refusal:
            if refusal.problem != "token_expired" or refusal.server_time is None:
                raise
            # For proving who we are to this server only: what has expired is never judged by a server's word.
            self._clock_off_s = refusal.server_time - int(time.time())
            self._ask_for_token()

    def _ask_for_token(self) -> None:
        assertion = self._key.assertion(self._device_id, clock_off_s=self._clock_off_s)
        reply = self._post("/v1/device/token", _encode(TokenRequest(assertion=assertion)), token=None)
        self._keep(_parse(TokenAnswer, reply.body))

    def _keep(self, answer: TokenAnswer) -> TokenAnswer:
        self._token = answer.access_token
        self._token_ends = time.monotonic() + max(0.0, (answer.expires_in or 0) - _EARLY_S)
        return answer

    def _bearer(self) -> str:
        if self._token is None:
            raise Pending("an operator has to accept this device first")
        return self._token

    def _post(self, path: str, body: bytes, *, token: str | None) -> transport.Reply:
        return transport.call("POST", self._base + path, value=body, token=token, timeout=self._timeout)


def _encode(body: BaseModel) -> bytes:
    return json.dumps(body.model_dump(mode="json", exclude_none=True)).encode()


def _parse(kind: type[_Answer], body: bytes) -> _Answer:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise Unreachable(f"not the answer of our server: {error.error_count()} faults") from error
