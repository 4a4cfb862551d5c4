import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.cli import admin_api
from service.cli.admin_api import AdminApi
from service.cli.errors import CliError, NoResponse


@contextmanager
def server(*responses):
    """A server that gives these (status, body) in turn, and records the idempotency keys it was sent."""
    left, keys = list(responses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            keys.append(self.headers["Idempotency-Key"])
            response = left.pop(0)
            if response is None:
                self.close_connection = True
                return
            status, body = response
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", keys
        http.shutdown()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(admin_api, "RETRY_PAUSES_S", (0.01, 0.01))


def test_a_post_without_a_response_is_repeated_with_the_same_key():
    with server(None, None, (200, b"{}")) as (url, keys), AdminApi(url, "t") as api:
        assert api.post_idempotent("/x") == {}
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_post_that_never_gets_a_response_is_given_up():
    with (
        server(None, None, None) as (url, _),
        AdminApi(url, "t") as api,
        pytest.raises(NoResponse, match="no response from http://127"),
    ):
        api.post_idempotent("/x")


def test_an_error_of_a_proxy_is_shown_with_its_status():
    with (
        server((502, b"<html>Bad Gateway")) as (url, _),
        AdminApi(url, "t") as api,
        pytest.raises(CliError, match=r"unexpected response to POST .*/x: status 502, '<html>Bad Gateway'"),
    ):
        api.call("POST", "/x")


@pytest.mark.parametrize(
    ("url", "token", "missing"),
    [
        (None, "t", "set GRAYLAG_URL, "),
        ("u", None, "set GRAYLAG_TOKEN, "),
        (None, None, "GRAYLAG_URL and GRAYLAG_TOKEN"),
    ],
)
def test_a_missing_url_or_token_is_named(monkeypatch, url, token, missing):
    monkeypatch.delenv("GRAYLAG_URL", raising=False)
    monkeypatch.delenv("GRAYLAG_TOKEN", raising=False)
    with pytest.raises(CliError, match=missing):
        AdminApi.from_environment(url, token)
