"""Requests for previews, and a fleet to preview."""

import json

from tests.service.support.actors import (
    stage,
    write,
)

OLD, NEW = b"weights of the old one" * 500, b"weights of the new one" * 500


def preview(live, body, devices=100):
    return live.call("POST", f"/v1/admin/rollouts/preview?devices={devices}", body, "viewer")


def body(label="v2", *stages, name="r", **more):
    return {"name": name, "model": "m", "version": label, "stages": list(stages or [stage()])} | more


def fleet(live, *devices):
    """Devices that have polled: (id, version, attributes), and optionally a dict of further columns."""
    for name, version, attributes, *more in devices:
        columns = {"status": "accepted", "admin": {}, "models": None} | (more[0] if more else {})
        write(
            live,
            "insert into devices (id, status, attributes, admin_attributes, models, seen_at)"
            " values (:id, :status, cast(:a as jsonb), cast(:b as jsonb), :models, now())",
            id=name,
            status=columns["status"],
            a=json.dumps(attributes),
            b=json.dumps(columns["admin"]),
            models=columns["models"],
        )
        write(
            live,
            "insert into installations (device_id, model, version, seen_at) values (:id, 'm', :version, now())",
            id=name,
            version=version,
        )
