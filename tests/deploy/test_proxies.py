"""The shipped HAProxy and nginx configurations, run by the real programs in front of a server that can be stalled."""

import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from sdk_contract.wire import Problem
from service.infrastructure.embedded.programs import free_ports
from tests.waiting import PATIENCE_S, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
CONCURRENT = 32


class StalledApi(ThreadingHTTPServer):
    """Answers polls when `resume` is set, everything else at once, and counts concurrent polls."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resume = threading.Event()
        self.polls = self.most_polls = 0
        self.lock = threading.Lock()
        self.forwarded: set[str | None] = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StalledApi

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.polls += 1
            self.server.most_polls = max(self.server.most_polls, self.server.polls)
            self.server.forwarded.add(self.headers.get("X-Forwarded-For"))
        self.server.resume.wait(PATIENCE_S)
        with self.server.lock:
            self.server.polls -= 1
        self._answer()

    def _answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def running(command, **environment):
    """A proxy that ends with the block, also when the test fails."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def haproxy(api_port, directory, dead_port=None):
    (port,) = free_ports(1)
    environment = {"PROXY_LISTEN": f"127.0.0.1:{port}", "PROXY_BACKEND": f"127.0.0.1:{api_port}"}
    text = (DEPLOY / "haproxy.cfg").read_text()
    if dead_port:
        line = '    server api1 "${PROXY_BACKEND}" maxconn 32\n'
        text = text.replace(line, f"{line}    server api2 127.0.0.1:{dead_port} maxconn 32\n")
    (directory / "haproxy.cfg").write_text(text)
    command = ["haproxy", "-db", "-f", str(directory / "haproxy.cfg")]
    with running(command, **environment):
        yield port


@contextmanager
def nginx(api_port, directory, dead_port=None):
    (port,) = free_ports(1)
    site = (DEPLOY / "nginx.conf").read_text()
    site = site.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace(
        "127.0.0.1:8000", f"127.0.0.1:{api_port}"
    )
    if dead_port:
        line = f"    server 127.0.0.1:{api_port} max_fails=0;\n"
        site = site.replace(line, f"{line}    server 127.0.0.1:{dead_port} max_fails=0;\n")
    (directory / "site.conf").write_text(site)
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/error.log;"
        "events { worker_connections 1000; }"
        f"http {{ access_log off; {temporary} include {directory}/site.conf; }}"
    )
    command = ["nginx", "-p", str(directory), "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]
    with running(command):
        yield port


PROXIES = {"haproxy": haproxy, "nginx": nginx}


@pytest.fixture
def api():
    server = StalledApi()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.resume.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(params=PROXIES)
def client(request, api, tmp_path):
    with connected(request.param, api, tmp_path) as client:
        yield client


@contextmanager
def connected(name, api, directory, dead_port=None):
    """A client of a running proxy in front of `api`, and of a process that has died."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    with PROXIES[name](api.server_address[1], directory, dead_port) as port:
        limits = httpx2.Limits(max_connections=None)
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S, limits=limits
        ) as client:
            wait_until(lambda: is_ready(client), f"{name} to answer")
            yield client


def is_ready(client):
    try:
        return client.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


def poll(client):
    return client.post("/v1/model/update", content=b"{}", headers={"X-Forwarded-For": "198.51.100.7"})


def test_polls_beyond_the_limit_get_a_problem_with_a_spread_retry_after(client, api):
    with ThreadPoolExecutor(200) as pool:
        running = [pool.submit(poll, client) for _ in range(200)]
        wait_until(
            lambda: sum(one.done() for one in running) == 200 - CONCURRENT,
            "all polls beyond the limit to be refused",
        )
        assert client.get("/health").status_code == 200
        api.resume.set()
        responses = [one.result() for one in running]
    refused = [response for response in responses if response.status_code == 503]
    assert len(refused) == 200 - CONCURRENT
    assert api.most_polls == CONCURRENT
    waits = {int(response.headers["Retry-After"]) for response in refused}
    assert len(waits) >= 4
    assert min(waits) >= 15
    assert max(waits) <= 45
    for response in refused:
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = Problem.model_validate_json(response.content)
        assert (problem.code, problem.status, problem.retryable) == ("unavailable", 503, True)


def test_the_api_sees_the_address_of_the_client_last(client, api):
    api.resume.set()
    assert poll(client).status_code == 200
    assert {address.split(",")[-1].strip() for address in api.forwarded} == {"127.0.0.1"}


@pytest.mark.parametrize("name", PROXIES)
def test_a_dead_api_process_costs_no_request(name, api, tmp_path):
    api.resume.set()
    (dead_port,) = free_ports(1)
    with connected(name, api, tmp_path, dead_port) as client:
        assert {poll(client).status_code for _ in range(20)} == {200}
