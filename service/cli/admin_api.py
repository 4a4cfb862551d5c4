"""HTTP client of the admin API."""

import os
import ssl
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx2

from sdk_contract.errors import as_clause
from service.cli.errors import CliError, NoResponse

URL_VARIABLE = "GRAYLAG_URL"
TOKEN_VARIABLE = "GRAYLAG_TOKEN"  # noqa: S105 - a variable's name
TIMEOUT_S = 60.0
RETRY_PAUSES_S = (0.5, 2.0)
SHOWN_CHARACTERS = 200
"""Characters of an unexpected response that an error message shows."""


class AdminApi:
    """A connection to one server with one API token; errors are raised as `CliError`."""

    def __init__(self, url: str, token: str) -> None:
        """Prepare the client; the first request opens the connection."""
        is_local = url.startswith(("http://127.", "http://localhost", "http://[::1]"))
        self._client = httpx2.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            # A proxy from the environment cannot reach this machine's loopback addresses.
            trust_env=not is_local,
            # Plain HTTP checks no certificate, and loading all authorities takes longer than most commands.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_local else True,
        )

    @classmethod
    def from_environment(cls, url: str | None, token: str | None) -> "AdminApi":
        """Use the given options; read missing ones from `GRAYLAG_URL` and `GRAYLAG_TOKEN`.

        Raises:
            CliError: the URL or the token is missing.
        """
        url = url or os.environ.get(URL_VARIABLE)
        token = token or os.environ.get(TOKEN_VARIABLE)
        if not url or not token:
            missing = " and ".join(
                name for name, value in ((URL_VARIABLE, url), (TOKEN_VARIABLE, token)) if not value
            )
            raise CliError(f"no server or no API token is given; set {missing}, or use --url and --token")
        return cls(url, token)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connection."""
        self._client.close()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send one request and return its parsed JSON; None if the response has no body.

        Raises:
            NoResponse: the server cannot be reached, or did not answer in time.
            CliError: the server answered with an error.
        """
        try:
            response = self._client.request(method, path, json=body, headers=headers)
        except httpx2.HTTPError as error:
            raise NoResponse(f"no response from {self._client.base_url}: {error}") from error
        if response.is_error:
            raise _error_from(method, response)
        return response.json() if response.content else None

    def post_idempotent(self, path: str, body: Any = None) -> Any:
        """POST with an idempotency key; retried if there is no response, and applied at most once.

        Raises:
            NoResponse: the last attempt got no response either.
            CliError: the server answered with an error.
        """
        headers = {"Idempotency-Key": uuid4().hex}
        for pause in RETRY_PAUSES_S:
            try:
                return self.call("POST", path, body, headers)
            except NoResponse:
                time.sleep(pause)
        return self.call("POST", path, body, headers)


def quote_segment(name: str) -> str:
    """Percent-encode a name as one path segment or one query value."""
    return quote(name, safe="")


def _error_from(method: str, response: httpx2.Response) -> CliError:
    try:
        problem = response.json()
        field = f" ({problem['field']})" if problem.get("field") else ""
        # A 404 for the address itself has no detail; the usual cause is a wrong path in GRAYLAG_URL.
        detail = problem.get("detail") or f"{method} {response.url}"
        kind = as_clause(problem["title"])
        return CliError(f"{kind}: {detail}{field} [{problem['code']}]", problem["code"])
    except (ValueError, KeyError, TypeError):
        return CliError(
            f"unexpected response to {method} {response.url}: status {response.status_code}, "
            f"{response.text[:SHOWN_CHARACTERS]!r}"
        )
