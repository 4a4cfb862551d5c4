"""The HTTP calls of the device API: enroll, token, poll, events and trust bundles."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sdk_contract import strict_json
from sdk_contract.client.errors import DevicePending, RequestRejected, Unreachable
from sdk_contract.client.protocol import http_client
from sdk_contract.client.storage.identity import DeviceConfiguration, DeviceKey
from sdk_contract.wire import Event, EventsResponse, PollResponse, TokenRequest, TokenResponse

_UNAUTHORIZED = 401
_TOKEN_MARGIN_S = 30.0
"""A token is renewed this long before it expires."""
MAX_BUNDLES = 256
"""Trust bundles read from one response."""
_Response = TypeVar("_Response", bound=BaseModel)


class DeviceApi:
    """The API calls of one device. The access token is kept in memory only."""

    def __init__(
        self, configuration: DeviceConfiguration, key: DeviceKey, *, timeout: float = http_client.TIMEOUT_S
    ) -> None:
        """Prepare calls for one device, without sending any.

        Raises:
            InsecureServer: the server's URL is plain http to another machine, and that is not allowed.
        """
        self._base = http_client.require_secure_url(configuration.server, allow_http=configuration.allow_http)
        self._device_id = configuration.device_id
        self._key = key
        self._timeout = timeout
        self._token: str | None = None
        self._token_expires_at = 0.0
        self._clock_offset_s = 0

    def enroll(self, enrollment_token: str, configuration: DeviceConfiguration) -> TokenResponse:
        """Enroll this device. It is safe to repeat the call with the same key.

        Raises:
            ContractError: the server rejected the request, or sent no valid response.
        """
        body = self._key.enrollment_request(
            configuration.device_id, enrollment_token, configuration.attributes
        )
        response = self._post("/v1/device/enroll", _encode(body), token=None)
        return self._store_token(_parse(TokenResponse, response.body))

    def poll(self, body: bytes) -> PollResponse:
        """Send a poll request as it is, and return the unverified response.

        Raises:
            ContractError: the server rejected the request, or sent no valid response.
        """
        response = self._call_authorized(lambda token: self._post("/v1/model/update", body, token=token))
        return _parse(PollResponse, response.body)

    def report_events(self, events: Sequence[Event]) -> EventsResponse:
        """Send a batch of at most `wire.MAX_EVENTS` events.

        Raises:
            ContractError: the server rejected the request, or sent no valid response.
        """
        body = json.dumps([event.model_dump(mode="json", exclude_none=True) for event in events]).encode()
        response = self._call_authorized(lambda token: self._post("/v1/model/events", body, token=token))
        return _parse(EventsResponse, response.body)

    def trust_bundles_after(self, version: int) -> list[bytes]:
        """Return the unverified envelopes of the trust bundles after `version`, oldest first.

        Raises:
            ContractError: the server rejected the request, or sent no valid response.
        """
        url = f"{self._base}/v1/trust?after={version}"
        response = http_client.call_api("GET", url, timeout=self._timeout)
        try:
            bundles: list[Any] = json.loads(response.body)["bundles"]
            return [strict_json.dumps(bundle) for bundle in bundles[:MAX_BUNDLES]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Unreachable(
                "the response of /v1/trust is not a list of trust bundles; check the server's URL"
            ) from error

    def _call_authorized(self, send: Callable[[str], http_client.ApiResponse]) -> http_client.ApiResponse:
        if self._token is None or time.monotonic() > self._token_expires_at:
            self._renew_token()
        try:
            return send(self._bearer())
        except RequestRejected as rejection:
            if rejection.status != _UNAUTHORIZED:
                raise
        self._renew_token()
        return send(self._bearer())

    def _renew_token(self) -> None:
        """Request an access token; if the device's clock is wrong, retry with the server's time."""
        try:
            self._request_token()
        except RequestRejected as rejection:
            if rejection.problem != "token_expired" or rejection.server_time is None:
                raise
            # The server's time is used for this assertion only, because a server must not decide what has expired.
            self._clock_offset_s = rejection.server_time - int(time.time())
            self._request_token()

    def _request_token(self) -> None:
        assertion = self._key.assertion(self._device_id, clock_offset_s=self._clock_offset_s)
        response = self._post("/v1/device/token", _encode(TokenRequest(assertion=assertion)), token=None)
        self._store_token(_parse(TokenResponse, response.body))

    def _store_token(self, response: TokenResponse) -> TokenResponse:
        self._token = response.access_token
        self._token_expires_at = time.monotonic() + max(0.0, (response.expires_in or 0) - _TOKEN_MARGIN_S)
        return response

    def _bearer(self) -> str:
        if self._token is None:
            raise DevicePending("an operator has to accept this device before it can poll")
        return self._token

    def _post(self, path: str, body: bytes, *, token: str | None) -> http_client.ApiResponse:
        return http_client.call_api("POST", self._base + path, body=body, token=token, timeout=self._timeout)


def _encode(body: BaseModel) -> bytes:
    return json.dumps(body.model_dump(mode="json", exclude_none=True)).encode()


def _parse(schema: type[_Response], body: bytes) -> _Response:
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise Unreachable(
            f"the response is no valid {schema.__name__}: {error.error_count()} errors"
        ) from error
