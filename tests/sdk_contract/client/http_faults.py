"""The HTTP side of the simulated server, and what can go wrong with a download."""

import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Toxic:
    """What goes wrong with one download.

    Attributes:
        cut: bytes of the body after which the connection ends.
        status: instead of the object.
        ignore_range: response 200 with the whole object.
        shift: bytes by which the range served differs from the one asked for.
        claim: `Content-Length` says this many bytes more than come.
        flip: offset of a byte that arrives wrong.
        slice: bytes per packet, with `delay` seconds between.
    """

    cut: int | None = None
    status: int | None = None
    ignore_range: bool = False
    shift: int = 0
    claim: int = 0
    flip: int | None = None
    slice: int | None = None
    delay: float = 0.0
    headers: dict = field(default_factory=dict)


class LoopbackServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what many tests are about."""


class DeviceHandler(BaseHTTPRequestHandler):
    """Routes of the device API, and objects by range; `server_side` is the simulator."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Silence."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        side = self.server_side
        if self.path == "/v1/device/enroll":
            return self.reply(*side.enroll(body))
        if self.path == "/v1/device/token":
            return self.reply(*side.renew(body))
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in side.tokens:
            return self.reply(401, problem(401, "token"))
        if self.path == "/v1/model/update":
            if side.poll_answers:
                return self.reply(*side.poll_answers.popleft())
            return self.reply(200, side.response(body))
        return self.reply(*side.take_events(body))

    def do_GET(self):
        side = self.server_side
        if self.path.startswith("/v1/trust"):
            after = int(self.path.partition("after=")[2])
            return self.reply(200, {"bundles": [json.loads(entry) for entry in side.trust_chain[after:]]})
        assert "Authorization" not in self.headers, "a store must never see our token"
        return self.serve(self.path.removeprefix("/objects/").partition("?")[0])

    def reply(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def serve(self, digest):
        side = self.server_side
        with side.lock:
            toxic = side.toxics.popleft() if side.toxics else Toxic()
        if toxic.status is not None:
            self.reply(toxic.status, {}, toxic.headers)
            return
        data = bytearray(side.objects[digest])
        if toxic.flip is not None and toxic.flip < len(data):
            data[toxic.flip] ^= 1
        first, last = 0, len(data) - 1
        asked = self.headers.get("Range")
        partial = asked is not None and not toxic.ignore_range
        if partial:
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            first = max(0, first + toxic.shift)
        body = bytes(data[first : last + 1])
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(body) + toxic.claim))
        self.end_headers()
        self.pour(body if toxic.cut is None else body[: toxic.cut], toxic)
        side.downloads.append((digest, first, len(body)))
        self.close_connection = True

    def pour(self, body, toxic):
        step = toxic.slice or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            self.server_side.sent_bytes += len(body[at : at + step])
            if toxic.delay:
                time.sleep(toxic.delay)


def problem(status, code):
    return {"type": "about:blank", "title": code, "status": status, "code": code}
