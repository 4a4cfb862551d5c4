import socket
import threading

import pytest

from sdk_contract.client import transport
from sdk_contract.client.errors import InsecureServer, Refused, ServerBusy, TimedOut, Unreachable
from sdk_contract.errors import Oversize
from tests.sdk_contract.client.loopback import Toxic


@pytest.mark.parametrize(
    "url", ["https://models.example", "https://models.example/", "http://127.0.0.1:8000", "http://localhost"]
)
def test_a_token_may_travel_by_https_or_inside_this_machine(url):
    assert transport.require_private(url, plain_http=False) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["http://models.example", "http://127.0.0.1.evil.example", "ftp://localhost", "models.example", ""]
)
def test_a_token_may_not_travel_otherwise(url):
    with pytest.raises(InsecureServer):
        transport.require_private(url, plain_http=False)


def test_the_operator_may_allow_plain_http(server):
    assert transport.require_private("http://api:8000/", plain_http=True) == "http://api:8000"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("999999", 86_400), ("-5", 0), ("soon", 0), ("9" * 40, 0), ("", 0)],
)
def test_retry_after_is_a_number_of_seconds_within_a_day(server, header, seconds):
    server.objects["x"] = b""
    server.toxics.append(Toxic(status=503, headers={"Retry-After": header}))
    with pytest.raises(ServerBusy) as busy:
        transport.call("GET", f"{server.base}/objects/x")
    assert busy.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 400, 404, 409, 422])
def test_a_refusal_without_a_problem_document_still_has_a_name(server, status):
    server.toxics.append(Toxic(status=status))
    with pytest.raises(Refused) as refusal:
        transport.call("GET", f"{server.base}/objects/x")
    assert (refusal.value.status, refusal.value.problem) == (status, "no_problem")


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        (1_790_000_000, 1_790_000_000),
        (None, None),
        ("1790000000", None),
        (0, None),
        (-5, None),
        (10**30, None),
        (1.5, None),
        (True, None),
    ],
)
def test_a_servers_clock_is_a_time_or_nothing(server, told, taken):
    server.tokens.add("good")
    server.poll_answers.append((401, {"code": "token_expired", "server_time": told}, {}))
    with pytest.raises(Refused) as refusal:
        transport.call("POST", f"{server.base}/v1/model/update", value=b"{}", token="good")
    assert refusal.value.server_time == taken


def test_an_answer_without_end_is_cut(server):
    server.objects["x"] = bytes(transport.MAX_ANSWER + 1)
    server.toxics.append(Toxic(ignore_range=True))
    with pytest.raises(Oversize):
        transport.call("GET", f"{server.base}/objects/x")


def test_a_head_that_drips_for_ever_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip():
            with listener.accept()[0] as peer:
                while not stop.wait(0.02):
                    try:
                        peer.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises((Unreachable, TimedOut)):
            transport.call("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.2)
        stop.set()
        thread.join()


def test_a_server_that_is_not_there_is_unreachable():
    with pytest.raises(Unreachable):
        transport.call("GET", "http://127.0.0.1:1/")


def test_a_name_that_does_not_resolve_is_unreachable_and_no_disk_error():
    with pytest.raises(Unreachable):
        transport.call("GET", "http://no-such-host.invalid/", timeout=5)
