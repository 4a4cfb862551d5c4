"""The users of the service in tests: publisher, release manager, device."""

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from sdk_contract.client.storage.identity import DeviceKey
from sdk_contract.documents import Directive, TrustBundle
from service.infrastructure import database
from service.infrastructure.jobs import JobNotifier, celery_app
from tests.databases import Contents, read_contents, write_contents

MIB = 2**20


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def ok(response):
    """The body of a response that must be a success."""
    assert response.is_success, response.text
    return response.json() if response.content else None


def refused(response, status, code, at=None):
    """The problem document of a response that must be this error."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert (problem["status"], problem["code"]) == (response.status_code, code), problem
    assert response.status_code == status, problem
    if at is not None:
        assert problem["field"] == at, problem
    return problem


def component(data, name="backbone", path=None, **changes):
    return {"name": name, "path": path or f"{name}.bin", "size": len(data), "sha256": sha256(data)} | changes


def version_body(label, *components, **more):
    return {"label": label, "variants": [{"components": list(components)}]} | more


def declare(live, body, model="m"):
    return live.call("POST", f"/v1/admin/models/{model}/versions", body, "publisher")


def start_upload(live, data):
    return ok(live.call("POST", "/v1/admin/uploads", {"sha256": sha256(data)}, "publisher"))


def send_parts(live, upload, data, numbers):
    """PUT parts to the blob store, as any HTTP client would."""
    path = f"/v1/admin/uploads/{upload['upload_id']}/parts"
    urls = ok(live.call("POST", path, {"numbers": list(numbers)}, "publisher"))["urls"]
    for number in numbers:
        start = (number - 1) * upload["part_bytes"]
        answer = live.store.put(urls[str(number)], content=data[start : start + upload["part_bytes"]])
        assert answer.is_success, answer.text


def complete(live, upload):
    return live.call("POST", f"/v1/admin/uploads/{upload['upload_id']}/complete", scope="publisher")


def upload_file(live, data, *, instead=None):
    """Upload a declared file, or the bytes `instead` in its place; return how many bytes were sent."""
    upload = start_upload(live, data)
    if upload["stored"]:
        return 0
    send_parts(live, upload, instead or data, upload["missing_parts"])
    ok(complete(live, upload))
    return len(data)


def submit(live, label, model="m"):
    return live.call("POST", f"/v1/admin/models/{model}/versions/{label}/submit", scope="publisher")


def version(live, label, model="m"):
    return ok(live.call("GET", f"/v1/admin/models/{model}/versions/{label}", scope="viewer"))


def publish(live, label, data, *, model="m", name="backbone", **more):
    """Publish a version of one file, and run all jobs."""
    ok(declare(live, version_body(label, component(data, name), **more), model))
    upload_file(live, data)
    ok(submit(live, label, model))
    live.run_jobs()
    refresh(live)
    return version(live, label, model)


_CONTENTS: dict[str, Contents] = {}


def set_up_once(steps):
    """A fixture of setup steps that run once per test process; later tests get a copy of the resulting rows.

    Copying takes milliseconds. So the steps may change only the database and the blob store, and no test in the file may
    delete blobs.
    """

    @wraps(steps)
    def fixture(live):
        name, url = f"{steps.__module__}.{steps.__qualname__}", live.settings.database_url
        if name in _CONTENTS:
            write_contents(url, _CONTENTS[name])
        else:
            steps(live)
            _CONTENTS[name] = read_contents(url)
        refresh(live)
        return live

    return fixture


def cohort(live, name="everyone", rule=None, **more):
    body = {"rule": {} if rule is None and "devices" not in more else rule} | more
    return ok(live.call("PUT", f"/v1/admin/cohorts/{name}", body, "release-manager"))


def stage(name="everyone", percent=100, **more):
    return {"cohort": name, "percent": percent} | more


def create_rollout(live, name, label, *stages, model="m", **more):
    body = {"name": name, "model": model, "version": label, "stages": list(stages or [stage()])} | more
    return live.call("POST", "/v1/admin/rollouts", body, "release-manager")


def act(live, name, verb, reason="a test"):
    answer = live.call("POST", f"/v1/admin/rollouts/{name}/{verb}", {"reason": reason}, "release-manager")
    refresh(live)
    return answer


def roll_out(live, name, label, *stages, **more):
    """Create and start a rollout, visible to polls."""
    if not stages:
        cohort(live)
    ok(create_rollout(live, name, label, *stages, **more))
    return ok(act(live, name, "start"))


def rollout(live, name):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}", scope="viewer"))


def process(live):
    """The internals of the API process."""
    return live.client.app.state.process


def rewire(live, **ports):
    """Replace parts of the process, for example by a client of a server that is down."""
    live.client.app.state.process = replace(process(live), **ports)


def refresh(live):
    """Reload the snapshot."""
    process(live).snapshots.refresh()


def flush(live):
    """Write the buffered check-ins."""
    live.client.portal.call(process(live).checkins.flush)


def notifier_without_broker():
    """A job notifier whose broker is down."""
    return JobNotifier(celery_app("redis://127.0.0.1:1/0"))


def rows(live, query, **values):
    """Rows of the database."""
    with database.read_only(live.engine) as session:
        return [row._mapping for row in session.execute(text(query), values)]


def write(live, query, **values):
    """Change the database directly."""
    with database.transaction(live.engine) as session:
        session.execute(text(query), values)


def event_id(moment=None):
    """A version-7 UUID."""
    stamp = int((time.time() if moment is None else moment) * 1000)
    return str(UUID(int=stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)))


@dataclass
class Device:
    """A device with its own key that uses plain HTTP."""

    live: Any
    id: str = "d1"
    key: DeviceKey = field(default_factory=lambda: DeviceKey(Ed25519PrivateKey.generate()))
    token: str = ""
    seq: int = 0

    def enroll_body(self, token=None, attributes=None):
        return self.key.enrollment_request(
            self.id, token or self.live.enrollment_token, attributes or {}
        ).model_dump()

    def enroll(self, token=None, attributes=None):
        return self.live.client.post("/v1/device/enroll", json=self.enroll_body(token, attributes))

    def ask_token(self, assertion=None):
        body = {"assertion": assertion or self.key.assertion(self.id)}
        return self.live.client.post("/v1/device/token", json=body)

    def post(self, path, body):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.live.client.post(path, content=content, headers=headers)

    def poll(self, current=None, **fields):
        body = {"device_id": self.id} | ({"current_version": current} if current else {}) | fields
        return ok(self.post("/v1/model/update", body))

    def event(self, attempt_id, state, **fields):
        self.seq += 1
        made = {"event_id": event_id(), "attempt_id": attempt_id, "seq": self.seq, "state": state}
        return made | fields

    def report(self, *events):
        return ok(self.post("/v1/model/events", list(events)))

    def finish(self, attempt_id, state, **fields):
        return self.report(self.event(attempt_id, state, **fields))

    def directive(self, answer):
        """The directive of an answer, verified with the trust bundle that this device was given."""
        trust = TrustBundle.from_initial_envelope(self.live.trust)
        return Directive.from_envelope(json.dumps(answer["directive"]).encode(), trust.for_role("director"))


def enroll(live, name="d1", **attributes):
    """A device that has come in."""
    device = Device(live, name)
    device.token = ok(device.enroll(attributes=attributes))["access_token"]
    return device


def explain(live, device, model=None):
    """The explanation of a device's next poll."""
    query = f"?model={model}" if model else ""
    return ok(live.call("GET", f"/v1/admin/devices/{device.id}/why{query}"))


def poll_and_explain(live, device, **fields):
    """The response to a poll, whose reason the explanation has to repeat."""
    response = device.poll(**fields)
    flush(live)
    assert explain(live, device)["reason"] == response["reason"]
    return response


def fail_attempts(device, times, **fields):
    """Poll and report a failed attempt several times."""
    for _ in range(times):
        device.finish(device.poll(**fields)["attempt_id"], "failed", code="load_failed")


def nonce():
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
