"""Serves a `FakeServer` over HTTP and injects faults."""

import base64
import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.server import FakeServer
from sdk_contract.conformance.fake_server.values import TOKEN, RecordedRequest, unchecked_json
from sdk_contract.wire import MAX_EVENTS, EnrollRequest, Event, proof_message

MAX_STALL_S = 15.0
"""How long a stalled connection stays open for a client that does not give up."""
ENDLESS_BYTES = 64 << 20
JUNK = b"junk" * 4096
CLOCK_SKEW_S, MAX_ASSERTION_LIFETIME_S = 60, 300
Response = tuple[int, Any]


@contextmanager
def serve(fake_server: FakeServer) -> Iterator[FakeServer]:
    """Serve on a free port of the loopback interface; sets `base_url`."""

    class Handler(_Handler):
        fake = fake_server
        closing = threading.Event()

    http_server = _Server(("127.0.0.1", 0), Handler)
    fake_server.base_url = f"http://127.0.0.1:{http_server.server_port}"
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake_server
    finally:
        Handler.closing.set()
        http_server.shutdown()
        thread.join()
        http_server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: in many scenarios the client closes the connection early."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    closing: threading.Event
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Log nothing."""

    def do_GET(self) -> None:
        """Serve objects and the trust chain."""
        self._record_request(b"")
        path = self.path.partition("?")[0]
        fault = self._next_fault(path)
        if path.startswith("/objects/"):
            self._send_object(path.removeprefix("/objects/"), fault)
        elif path == "/v1/trust":
            self._send_api_response((200, self._trust()), fault)
        else:
            self._send_api_response((404, problem(404, "not_found")), fault)

    def do_POST(self) -> None:
        """Serve the device API."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 20))
        self._record_request(body)
        fault = self._next_fault(self.path)
        if fault.status is not None or fault.body is not None:
            status = fault.status or 200
            self._send_api_response((status, fault.body or problem(status, "fault")), fault)
        else:
            self._send_api_response(self._handle(body), fault)

    def _handle(self, body: bytes) -> Response:
        public = {"/v1/device/enroll": self._enroll, "/v1/device/token": self._renew_token}
        protected = {"/v1/model/update": self._poll, "/v1/model/events": self._events}
        if self.path in public:
            return public[self.path](body)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self.fake.tokens:
            return 401, problem(401, "unauthorized")
        return protected[self.path](body) if self.path in protected else (404, problem(404, "not_found"))

    def _record_request(self, body: bytes) -> None:
        self.fake.requests.append(RecordedRequest(self.command, self.path, dict(self.headers.items()), body))

    def _next_fault(self, path: str) -> Fault:
        for prefix, queue in list(self.fake.faults.items()):
            if path.startswith(prefix) and queue:
                return queue.popleft()
        return Fault()

    # -- API ------------------------------------------------------------------------------------

    def _enroll(self, body: bytes) -> Response:
        request = EnrollRequest.model_validate_json(body)
        public_key = base64.b64decode(request.public_key)
        message = proof_message(request.device_id, public_key, request.enrollment_token)
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(base64.b64decode(request.proof), message)
        except InvalidSignature:
            return 403, problem(403, "proof")
        if request.enrollment_token != TOKEN:
            return 403, problem(403, "enrollment_token")
        self.fake.devices[request.device_id] = public_key
        return 201, self._token()

    def _renew_token(self, body: bytes) -> Response:
        header, claims, signature = json.loads(body)["assertion"].split(".")
        payload = json.loads(_base64url(claims))
        device, seconds = payload["sub"], int(time.time()) + self.fake.clock_ahead_s
        try:
            key = Ed25519PublicKey.from_public_bytes(self.fake.devices[device])
            key.verify(_base64url(signature), f"{header}.{claims}".encode())
        except (InvalidSignature, KeyError):
            return 401, problem(401, "unauthorized")
        if not seconds - CLOCK_SKEW_S < payload["exp"] <= seconds + CLOCK_SKEW_S + MAX_ASSERTION_LIFETIME_S:
            return 401, {**problem(401, "token_expired"), "server_time": seconds}
        self.fake.tokens_renewed += 1
        return 200, self._token()

    def _token(self) -> Mapping[str, Any]:
        token = secrets.token_urlsafe(16)
        self.fake.tokens.add(token)
        seconds = int(time.time())
        return {"status": "accepted", "access_token": token, "expires_in": 900, "server_time": seconds}

    def _poll(self, body: bytes) -> Response:
        return 200, self.fake.poll_response(body)

    def _events(self, body: bytes) -> Response:
        events = json.loads(body)
        if not 0 < len(events) <= MAX_EVENTS:
            return 422, problem(422, "invalid")
        new = 0
        for entry in events:
            Event.model_validate(entry)
            new += self.fake.record_event(entry)
        return 202, {"accepted": new, "duplicates": len(events) - new}

    def _trust(self) -> bytes:
        after = int(self.path.partition("after=")[2] or 0)
        replacement = self.fake.tampering.trust_chain
        bundles = self.fake.trust_chain[after:] if replacement is None else replacement
        return b'{"bundles":[' + b",".join(bundles) + b"]}"

    def _send_api_response(self, response: Response, fault: Fault) -> None:
        status, value = response
        body = value if isinstance(value, bytes) else unchecked_json(value)
        if fault.drop_response:
            self.close_connection = True
            return
        self._send_response(status, {}, body, fault)

    def _send_response(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> None:
        self.send_response(status)
        if not fault.endless:
            self.send_header("Content-Length", str(len(body) + fault.extra_length))
        for name, text in {**headers, **fault.headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self._send_body(body, fault)
        self.close_connection = True

    # -- objects --------------------------------------------------------------------------------

    def _send_object(self, digest: str, fault: Fault) -> None:
        data = bytearray(fault.body if fault.body is not None else self.fake.objects.get(digest, b""))
        if fault.status is not None or (not data and digest not in self.fake.objects):
            self._send_api_response((fault.status or 404, b""), fault)
            return
        if fault.flip_byte_at is not None and data:
            data[fault.flip_byte_at % len(data)] ^= 1
        first, last = self._range(len(data), fault)
        body = bytes(data[first : last + 1])
        partial = "Range" in self.headers and not fault.ignore_range
        content_range = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if partial else {}
        self._send_response(206 if partial else 200, content_range, body, fault)

    def _range(self, size: int, fault: Fault) -> tuple[int, int]:
        requested = self.headers.get("Range")
        if requested is None or fault.ignore_range:
            return 0, size - 1
        first, _, last = requested.removeprefix("bytes=").partition("-")
        return max(0, int(first) + fault.range_shift), min(size - 1, int(last or size - 1))

    def _send_body(self, body: bytes, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            if fault.bytes_per_s:
                self._send_slowly(body, fault.bytes_per_s)
                return
            stop = fault.cut_after if fault.cut_after is not None else fault.stall_after
            # The first junk goes into the same write, so that a client without a limit always reads some of it.
            self._send((body if stop is None else body[:stop]) + (JUNK if fault.endless else b""))
            if fault.stall_after is not None:
                self.closing.wait(MAX_STALL_S)
            if fault.endless:
                for _ in range(ENDLESS_BYTES // len(JUNK)):
                    self._send(JUNK)

    def _send_slowly(self, body: bytes, rate: int) -> None:
        deadline = time.monotonic() + MAX_STALL_S
        step = max(1, rate // 20)
        for offset in range(0, len(body), step):
            self._send(body[offset : offset + step])
            if time.monotonic() > deadline or self.closing.wait(0.05):
                return

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.fake.bytes_sent += len(data)


def problem(status: int, code: str) -> Mapping[str, Any]:
    """An error body (RFC 9457)."""
    return {"type": "about:blank", "title": code, "status": status, "code": code}


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
