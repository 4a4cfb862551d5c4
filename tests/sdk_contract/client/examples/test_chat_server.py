"""A chat server follows a rollout and a rollback, without a restart and without a wrong response."""

import contextlib
import sys
import threading

import numpy as np
import pytest

from sdk_contract.client.cli.main import main
from sdk_contract.client.examples.chat_server import Server, call

COMMAND = f"{sys.executable} -m sdk_contract.client.examples.chat_server"


def table(word: str) -> bytes:
    """A model that repeats a word."""
    rows = np.zeros((256, 256), np.uint8)
    for here, there in zip(word, word[1:] + word[0], strict=True):
        rows[ord(here), ord(there)] = 1
    rows[ord(" "), ord(word[0])] = 1
    return rows.tobytes()


SAYS = {"demo@v1": "duckduckduck", "demo@v2": "swanswanswan"}


@pytest.fixture
def chat():
    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def question(chat):
    body = {"messages": [{"role": "user", "content": "say: "}], "max_tokens": 12}
    return call(chat.server_port, "/v1/chat/completions", body)


def test_responses_follow_the_version_and_no_request_fails_during_a_swap(server, enroll, chat):
    server.publish("v1", 1, {"backbone": table("duck")})
    server.publish("v2", 2, {"backbone": table("swan")})
    server.publish("v3", 3, {"backbone": bytes(65_536)})
    directory = str(enroll()._store.directory)
    asked = [f"--on-activate={COMMAND} load --port {chat.server_port}"]
    asked += [f"--health-check={COMMAND} ask --port {chat.server_port}", "--health-timeout=0"]
    assert question(chat)[0] == 503
    server.target = "v1"
    assert main(["update", "--dir", directory, *asked]) == 0

    wrong, received, stop = [], set(), threading.Event()

    def talk():
        while not stop.is_set():
            status, response = question(chat)
            text = response["choices"][0]["message"]["content"] if status == 200 else None
            received.add(response.get("model"))
            if text != SAYS.get(response.get("model"), "?"):
                wrong.append(response)

    with contextlib.ExitStack() as stack:
        thread = threading.Thread(target=talk)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        server.target, server.attempt = "v2", "attempt-2"
        assert main(["update", "--dir", directory, *asked]) == 0
        server.target, server.attempt = "v3", "attempt-3"
        assert main(["update", "--dir", directory, *asked]) == 1
    assert wrong == []
    assert received == {"demo@v1", "demo@v2"}
    assert server.events[-1].state == "rolled_back"


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": 1}])
def test_an_invalid_chat_request_gets_status_400(chat, body):
    assert call(chat.server_port, "/v1/chat/completions", body)[0] == 400
