import socket
import threading

import pytest

from sdk_contract.client.errors import InsecureServer, RequestRejected, ServerBusy, TimedOut, Unreachable
from sdk_contract.client.protocol import http_client
from sdk_contract.errors import Oversize
from tests.sdk_contract.client.http_faults import HttpFault


@pytest.mark.parametrize(
    "url", ["https://models.example", "https://models.example/", "http://127.0.0.1:8000", "http://localhost"]
)
def test_a_token_may_be_sent_over_https_or_to_this_machine(url):
    assert http_client.require_secure_url(url, allow_http=False) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["http://models.example", "http://127.0.0.1.evil.example", "ftp://localhost", "models.example", ""]
)
def test_a_token_must_not_be_sent_otherwise(url):
    with pytest.raises(InsecureServer, match="is not secure; use https, or http to this machine only"):
        http_client.require_secure_url(url, allow_http=False)


def test_the_operator_may_allow_plain_http(server):
    assert http_client.require_secure_url("http://api:8000/", allow_http=True) == "http://api:8000"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("999999", 86_400), ("-5", 0), ("soon", 0), ("9" * 40, 0), ("", 0)],
)
def test_retry_after_is_a_number_of_seconds_within_a_day(server, header, seconds):
    server.objects["x"] = b""
    server.faults.append(HttpFault(status=503, headers={"Retry-After": header}))
    with pytest.raises(ServerBusy) as busy:
        http_client.call_api("GET", f"{server.base}/objects/x")
    assert busy.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 400, 404, 409, 422])
def test_a_rejection_without_a_problem_document_has_a_code(server, status):
    server.faults.append(HttpFault(status=status))
    with pytest.raises(RequestRejected) as rejection:
        http_client.call_api("GET", f"{server.base}/objects/x")
    assert (rejection.value.status, rejection.value.problem) == (status, "no_problem")


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
def test_an_invalid_server_time_is_ignored(server, told, taken):
    server.tokens.add("good")
    server.poll_responses.append((401, {"code": "token_expired", "server_time": told}, {}))
    with pytest.raises(RequestRejected) as rejection:
        http_client.call_api("POST", f"{server.base}/v1/model/update", body=b"{}", token="good")
    assert rejection.value.server_time == taken


def test_an_endless_response_is_an_error(server):
    server.objects["x"] = bytes(http_client.MAX_RESPONSE_BYTES + 1)
    server.faults.append(HttpFault(ignore_range=True))
    with pytest.raises(Oversize, match="oversize: the response is longer than 4194304 bytes"):
        http_client.call_api("GET", f"{server.base}/objects/x")


def test_headers_that_arrive_too_slowly_are_an_error():
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
        with pytest.raises((Unreachable, TimedOut), match="BadStatusLine"):
            http_client.call_api("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.2)
        stop.set()
        thread.join()


def test_a_refused_connection_is_unreachable():
    with pytest.raises(Unreachable, match="ConnectionRefusedError"):
        http_client.call_api("GET", "http://127.0.0.1:1/")


def test_an_unknown_host_name_is_unreachable_and_no_disk_error():
    with pytest.raises(Unreachable, match=r"unreachable: no-such-host\.invalid: gaierror"):
        http_client.call_api("GET", "http://no-such-host.invalid/", timeout=5)
