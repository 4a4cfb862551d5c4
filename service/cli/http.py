"""The admin API from the command line's side."""

import os
import ssl
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx2

from service.errors import Refusal

URL_VARIABLE = "GRAYLAG_URL"
TOKEN_VARIABLE = "GRAYLAG_TOKEN"  # noqa: S105 - a variable's name
TIMEOUT_S = 60.0
RETRY_AFTER_S = (0.5, 2.0)


class CliError(Refusal):
    """What went wrong, as one line for a person.

    Attributes:
        code: the problem's code, where the server sent one.
    """

    def __init__(self, message: str, code: str = "") -> None:
        """Keep the line."""
        super().__init__(message)
        self.code = code


class NoAnswer(CliError):
    """The server did not answer; whether it did what it was asked to, nobody knows."""


class AdminApi:
    """One server, one token; problems come back as `CliError`."""

    def __init__(self, url: str, token: str) -> None:
        """Connect lazily."""
        here = url.startswith(("http://127.", "http://localhost", "http://[::1]"))
        self._client = httpx2.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            # Loopback and cluster addresses are no business of a proxy that the environment names.
            trust_env=not here,
            # Where nothing is encrypted no authority is asked; to read them all takes longer than most commands.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if here else True,
        )

    @classmethod
    def from_environment(cls, url: str | None, token: str | None) -> "AdminApi":
        """From options, else from `GRAYLAG_URL` and `GRAYLAG_TOKEN`.

        Raises:
            CliError: one of them is missing.
        """
        url = url or os.environ.get(URL_VARIABLE)
        token = token or os.environ.get(TOKEN_VARIABLE)
        if not url or not token:
            raise CliError(f"which server, and as whom? Set {URL_VARIABLE} and {TOKEN_VARIABLE}")
        return cls(url, token)

    def __enter__(self) -> Self:
        """The API itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connections."""
        self._client.close()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """One request; the parsed answer, or None where there is none.

        Raises:
            CliError: the server is away or refuses.
        """
        try:
            response = self._client.request(method, path, json=body, headers=headers)
        except httpx2.HTTPError as error:
            raise NoAnswer(f"{self._client.base_url} does not answer: {error}") from error
        if response.is_error:
            raise _refusal(method, response)
        return response.json() if response.content else None

    def once(self, path: str, body: Any = None) -> Any:
        """A POST that is sent again while there is no answer, and done once, however often it arrives.

        Raises:
            NoAnswer: there was none to the last try either.
            CliError: the server refuses.
        """
        headers = {"Idempotency-Key": uuid4().hex}
        for pause in RETRY_AFTER_S:
            try:
                return self.call("POST", path, body, headers)
            except NoAnswer:
                time.sleep(pause)
        return self.call("POST", path, body, headers)


def quoted(name: str) -> str:
    """A name as one part of a path or a query, whatever is in it."""
    return quote(name, safe="")


def _refusal(method: str, response: httpx2.Response) -> CliError:
    try:
        problem = response.json()
        where = f" ({problem['field']})" if problem.get("field") else ""
        # Without a detail nothing was found wrong but the address: a server behind a path, an empty name.
        detail = problem.get("detail") or f"{method} {response.url}"
        return CliError(f"{problem['title']}: {detail}{where} [{problem['code']}]", problem["code"])
    except (ValueError, KeyError, TypeError):
        return CliError(f"the server answered {response.status_code}: {response.text[:200]}")
