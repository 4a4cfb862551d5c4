"""HTTP around a `World`, with faults."""

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

from sdk_contract.conformance.facts import TOKEN, Seen, encode
from sdk_contract.conformance.lies import Fault
from sdk_contract.conformance.world import World
from sdk_contract.wire import MAX_EVENTS, EnrolRequest, Event, proof_message

PATIENCE_S = 15.0
"""How long a stalled exchange is held open for a client that does not give up."""
ENDLESS = 64 << 20
JUNK = b"junk" * 4096
CLOCK_SKEW_S, ASSERTION_SPAN_S = 60, 300
Answer = tuple[int, Any]


@contextmanager
def serving(world: World) -> Iterator[World]:
    """Serve a world on a free port of the loopback interface; its `base` says where."""

    class Handler(_Handler):
        side = world
        closing = threading.Event()

    server = _Server(("127.0.0.1", 0), Handler)
    world.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        Handler.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many scenarios are about."""


class _Handler(BaseHTTPRequestHandler):
    side: World
    closing: threading.Event
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Silence."""

    def do_GET(self) -> None:
        """Objects and the trust chain."""
        self._note(b"")
        path = self.path.partition("?")[0]
        fault = self._fault(path)
        if path.startswith("/objects/"):
            self._object(path.removeprefix("/objects/"), fault)
        elif path == "/v1/trust":
            self._api((200, self._trust()), fault)
        else:
            self._api((404, problem(404, "not_found")), fault)

    def do_POST(self) -> None:
        """The API."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 20))
        self._note(body)
        fault = self._fault(self.path)
        if fault.status is not None or fault.body is not None:
            self._api((fault.status or 200, fault.body or problem(fault.status or 200, "fault")), fault)
            return
        routes = {"/v1/device/enroll": self._enrol, "/v1/device/token": self._renew}
        guarded = {"/v1/model/update": self._poll, "/v1/model/events": self._events}
        route = routes.get(self.path)
        if route is None and self.headers.get("Authorization", "")[7:] not in self.side.tokens:
            self._api((401, problem(401, "unauthorized")), fault)
            return
        route = route or guarded.get(self.path)
        self._api(route(body) if route else (404, problem(404, "not_found")), fault)

    def _note(self, body: bytes) -> None:
        self.side.seen.append(Seen(self.command, self.path, dict(self.headers.items()), body))

    def _fault(self, path: str) -> Fault:
        for prefix, waiting in list(self.side.faults.items()):
            if path.startswith(prefix) and waiting:
                return waiting.popleft()
        return Fault()

    # -- API ------------------------------------------------------------------------------------

    def _enrol(self, body: bytes) -> Answer:
        request = EnrolRequest.model_validate_json(body)
        public = base64.b64decode(request.public_key)
        message = proof_message(request.device_id, public, request.enrolment_token)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(request.proof), message)
        except InvalidSignature:
            return 403, problem(403, "proof")
        if request.enrolment_token != TOKEN:
            return 403, problem(403, "enrolment_token")
        self.side.devices[request.device_id] = public
        return 201, self._token()

    def _renew(self, body: bytes) -> Answer:
        header, claims, signature = json.loads(body)["assertion"].split(".")
        said = json.loads(_unpadded(claims))
        device, seconds = said["sub"], int(time.time()) + self.side.clock_ahead_s
        try:
            key = Ed25519PublicKey.from_public_bytes(self.side.devices[device])
            key.verify(_unpadded(signature), f"{header}.{claims}".encode())
        except (InvalidSignature, KeyError):
            return 401, problem(401, "unauthorized")
        if not seconds - CLOCK_SKEW_S < said["exp"] <= seconds + CLOCK_SKEW_S + ASSERTION_SPAN_S:
            return 401, {**problem(401, "token_expired"), "server_time": seconds}
        self.side.logins += 1
        return 200, self._token()

    def _token(self) -> Mapping[str, Any]:
        token = secrets.token_urlsafe(16)
        self.side.tokens.add(token)
        seconds = int(time.time())
        return {"status": "accepted", "access_token": token, "expires_in": 900, "server_time": seconds}

    def _poll(self, body: bytes) -> Answer:
        return 200, self.side.answer(body)

    def _events(self, body: bytes) -> Answer:
        reported = json.loads(body)
        if not 0 < len(reported) <= MAX_EVENTS:
            return 422, problem(422, "invalid")
        fresh = 0
        for entry in reported:
            Event.model_validate(entry)
            fresh += self.side.take(entry)
        return 202, {"accepted": fresh, "duplicates": len(reported) - fresh}

    def _trust(self) -> bytes:
        after = int(self.path.partition("after=")[2] or 0)
        lies = self.side.lies.chain
        return b'{"bundles":[' + b",".join(self.side.chain[after:] if lies is None else lies) + b"]}"

    def _api(self, answer: Answer, fault: Fault) -> None:
        status, value = answer
        body = value if isinstance(value, bytes) else encode(value)
        if fault.lose:
            self.close_connection = True
            return
        self._deliver(status, {}, body, fault)

    def _deliver(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> None:
        self.send_response(status)
        if not fault.endless:
            self.send_header("Content-Length", str(len(body) + fault.claim))
        for name, text in {**headers, **fault.headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self._pour(body, fault)
        self.close_connection = True

    # -- objects --------------------------------------------------------------------------------

    def _object(self, digest: str, fault: Fault) -> None:
        data = bytearray(fault.body if fault.body is not None else self.side.objects.get(digest, b""))
        if fault.status is not None or (not data and digest not in self.side.objects):
            self._api((fault.status or 404, b""), fault)
            return
        if fault.flip is not None and data:
            data[fault.flip % len(data)] ^= 1
        first, last = self._range(len(data), fault)
        body = bytes(data[first : last + 1])
        partial = "Range" in self.headers and not fault.ignore_range
        where = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if partial else {}
        self._deliver(206 if partial else 200, where, body, fault)

    def _range(self, size: int, fault: Fault) -> tuple[int, int]:
        asked = self.headers.get("Range")
        if asked is None or fault.ignore_range:
            return 0, size - 1
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return max(0, int(first) + fault.shift), min(size - 1, int(last or size - 1))

    def _pour(self, body: bytes, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            if fault.drip:
                self._drip(body, fault.drip)
                return
            stop = fault.cut if fault.cut is not None else fault.stall
            # In one write with the first junk: whether a client without a bound takes it must not hang on timing.
            self._send((body if stop is None else body[:stop]) + (JUNK if fault.endless else b""))
            if fault.stall is not None:
                self.closing.wait(PATIENCE_S)
            if fault.endless:
                for _ in range(ENDLESS // len(JUNK)):
                    self._send(JUNK)

    def _drip(self, body: bytes, rate: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        step = max(1, rate // 20)
        for at in range(0, len(body), step):
            self._send(body[at : at + step])
            if time.monotonic() > deadline or self.closing.wait(0.05):
                return

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.side.sent += len(data)


def problem(status: int, code: str) -> Mapping[str, Any]:
    """A refusal (RFC 9457)."""
    return {"type": "about:blank", "title": code, "status": status, "code": code}


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
