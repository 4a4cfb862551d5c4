import http.server
import json
import threading

import pytest
from typer.testing import CliRunner

from service.cli.http import CliError
from service.cli.main import build
from service.cli.revoke import recall
from tests.service import actors
from tests.service.actors import version
from tests.service.cli.test_publish import Api


class Manager(Api):
    """The admin API of the live service, asked by a release manager."""

    def call(self, method, path, body=None):
        answer = self._live.call(method, path, body, "release-manager")
        if answer.is_error:
            raise CliError(answer.json()["detail"], answer.json()["code"])
        return answer.json()


@pytest.fixture
def server():
    """Answers like the admin API, and keeps what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], json.loads(body)))
            answer = json.dumps({"label": "v1", "state": "revoked"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}", asked
        served.shutdown()


def command(url, *more, answer=None):
    words = ["revoke", "m", "v1", "--url", url, "--token", "secret", *more]
    return CliRunner().invoke(build("revoke"), words, input=answer)


def test_a_version_is_recalled_and_recalling_it_again_changes_nothing(live):
    actors.publish(live, "v1", b"weights that make things up")
    for _ in range(2):
        assert recall(Manager(live), "m", "v1", "makes things up")["state"] == "revoked"
    assert version(live, "v1")["state"] == "revoked"


def test_what_is_not_there_cannot_be_recalled(live):
    with pytest.raises(CliError) as refusal:
        recall(Manager(live), "m", "v9", "it is bad")
    assert refusal.value.code in {"not_found", "unknown_model"}


def test_the_command_asks_first(server):
    url, asked = server
    assert command(url, "--reason", "bad", answer="n\n").exit_code == 1
    assert asked == []
    done = command(url, "--reason", "bad", answer="y\n")
    assert (done.exit_code, asked) == (
        0,
        [("/v1/admin/models/m/versions/v1/revoke", "Bearer secret", {"reason": "bad"})],
    )
    assert "v1 is revoked" in done.output


def test_a_script_need_not_be_asked(server):
    url, asked = server
    done = command(url, "--reason", "bad", "--yes", "--json")
    assert json.loads(done.output) == {"label": "v1", "state": "revoked"}
    assert len(asked) == 1


def test_nothing_is_recalled_without_a_reason(server):
    url, asked = server
    assert command(url, "--yes").exit_code == 2
    assert asked == []
