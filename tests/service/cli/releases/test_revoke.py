import http.server
import json
import threading

import pytest
from typer.testing import CliRunner

from service.cli.errors import CliError
from service.cli.main import build_app
from service.cli.releases.revoke import revoke_version
from tests.service.cli.releases.test_publish import Api
from tests.service.support import actors
from tests.service.support.actors import version


class Manager(Api):
    """The admin API of the live service, called by a release manager."""

    def call(self, method, path, body=None, headers=None):
        assert headers is None
        answer = self._live.call(method, path, body, "release-manager")
        if answer.is_error:
            raise CliError(answer.json()["detail"], answer.json()["code"])
        return answer.json()


@pytest.fixture
def server():
    """Answers like the admin API, and records requests."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers["Authorization"], json.loads(body)))
            answer = json.dumps({"label": "v1", "state": "revoked"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}", requests
        served.shutdown()


def command(url, *more, answer=None):
    words = ["revoke", "m", "v1", "--url", url, "--token", "secret", *more]
    return CliRunner().invoke(build_app("revoke"), words, input=answer)


def test_revoking_a_version_twice_has_the_same_result(live):
    actors.publish(live, "v1", b"weights that invent things")
    for _ in range(2):
        assert revoke_version(Manager(live), "m", "v1", "invents things")["state"] == "revoked"
    assert version(live, "v1")["state"] == "revoked"


def test_an_unknown_version_cannot_be_revoked(live):
    with pytest.raises(CliError) as refusal:
        revoke_version(Manager(live), "m", "v9", "it is bad")
    assert refusal.value.code in {"not_found", "unknown_model"}


def test_the_command_asks_for_confirmation(server):
    url, requests = server
    assert command(url, "--reason", "bad", answer="n\n").exit_code == 1
    assert requests == []
    done = command(url, "--reason", "bad", answer="y\n")
    assert (done.exit_code, requests) == (
        0,
        [("/v1/admin/models/m/versions/v1/revoke", "Bearer secret", {"reason": "bad"})],
    )
    assert "v1 is revoked" in done.output


def test_yes_skips_the_confirmation(server):
    url, requests = server
    done = command(url, "--reason", "bad", "--yes", "--json")
    assert json.loads(done.output) == {"label": "v1", "state": "revoked"}
    assert len(requests) == 1


def test_revoking_requires_a_reason(server):
    url, requests = server
    assert command(url, "--yes").exit_code == 2
    assert requests == []
