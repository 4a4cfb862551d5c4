"""Who uses the service in the tests: a publisher, a release manager, a device."""

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

from sdk_contract.client.identity import DeviceKey
from sdk_contract.documents import Directive, TrustBundle
from service import database
from service.jobs import Bell, broker
from tests.databases import Contents, read_contents, write_contents

MIB = 2**20


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def ok(response):
    """The body of an answer that must be a success."""
    assert response.is_success, response.text
    return response.json() if response.content else None


def refused(response, status, code, at=None):
    """The problem document of an answer that must be this refusal."""
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
    """PUT parts straight to the store, as any HTTP client would."""
    path = f"/v1/admin/uploads/{upload['upload_id']}/parts"
    urls = ok(live.call("POST", path, {"numbers": list(numbers)}, "publisher"))["urls"]
    for number in numbers:
        start = (number - 1) * upload["part_bytes"]
        answer = live.store.put(urls[str(number)], content=data[start : start + upload["part_bytes"]])
        assert answer.is_success, answer.text


def complete(live, upload):
    return live.call("POST", f"/v1/admin/uploads/{upload['upload_id']}/complete", scope="publisher")


def bring(live, data, *, instead=None):
    """Upload a declared file; `instead` sends other bytes in its place. Returns how many were sent."""
    upload = start_upload(live, data)
    if upload["stored"]:
        return 0
    send_parts(live, upload, instead or data, upload["parts"])
    ok(complete(live, upload))
    return len(data)


def submit(live, label, model="m"):
    return live.call("POST", f"/v1/admin/models/{model}/versions/{label}/submit", scope="publisher")


def version(live, label, model="m"):
    return ok(live.call("GET", f"/v1/admin/models/{model}/versions/{label}", scope="viewer"))


def publish(live, label, data, *, model="m", name="backbone", **more):
    """A version of one file, from declaration to where the workers leave it."""
    ok(declare(live, version_body(label, component(data, name), **more), model))
    bring(live, data)
    ok(submit(live, label, model))
    live.run_jobs()
    refresh(live)
    return version(live, label, model)


_LEFT: dict[str, Contents] = {}


def set_up_once(steps):
    """The first steps of some tests, on a service as it was founded: taken once per test process.

    Later tests get the rows that the real operations left the first time, which takes milliseconds. So the steps may
    change the database and the store alone, and no test of the file may delete what lies in the store.
    """

    @wraps(steps)
    def fixture(live):
        name, url = f"{steps.__module__}.{steps.__qualname__}", live.settings.database_url
        if name in _LEFT:
            write_contents(url, _LEFT[name])
        else:
            steps(live)
            _LEFT[name] = read_contents(url)
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
    """A running rollout, visible to polls."""
    if not stages:
        cohort(live)
    ok(create_rollout(live, name, label, *stages, **more))
    return ok(act(live, name, "start"))


def rollout(live, name):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}", scope="viewer"))


def process(live):
    """The inside of the API process."""
    return live.client.app.state.process


def rewire(live, **ports):
    """Give the process other ports, for example to a server that is away."""
    live.client.app.state.process = replace(process(live), **ports)


def refresh(live):
    """Make polls see what has just been committed."""
    process(live).snapshots.refresh()


def flush(live):
    """Write the check-ins now."""
    live.client.portal.call(process(live).checkins.flush)


def deaf_bell():
    """A bell whose broker is away."""
    return Bell(broker("redis://127.0.0.1:1/0"))


def rows(live, query, **values):
    """What lies in the tables."""
    with database.read_only(live.engine) as session:
        return [row._mapping for row in session.execute(text(query), values)]


def write(live, query, **values):
    """Change a table behind the service's back."""
    with database.transaction(live.engine) as session:
        session.execute(text(query), values)


def event_id(moment=None):
    """A version-7 UUID."""
    stamp = int((time.time() if moment is None else moment) * 1000)
    return str(UUID(int=stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)))


@dataclass
class Device:
    """A device with a key of its own, speaking plain HTTP."""

    live: Any
    id: str = "d1"
    key: DeviceKey = field(default_factory=lambda: DeviceKey(Ed25519PrivateKey.generate()))
    token: str = ""
    seq: int = 0

    def enrol_body(self, token=None, attributes=None):
        return self.key.enrolment(self.id, token or self.live.enrolment_token, attributes or {}).model_dump()

    def enrol(self, token=None, attributes=None):
        return self.live.client.post("/v1/device/enroll", json=self.enrol_body(token, attributes))

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
        trust = TrustBundle.open_first(self.live.trust)
        return Directive.open(json.dumps(answer["directive"]).encode(), trust.for_role("director"))


def enrol(live, name="d1", **attributes):
    """A device that has come in."""
    device = Device(live, name)
    device.token = ok(device.enrol(attributes=attributes))["access_token"]
    return device


def nonce():
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
