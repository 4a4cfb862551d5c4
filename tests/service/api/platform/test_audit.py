"""The audit log."""

from tests.service.support import actors
from tests.service.support.actors import ok, publish


def test_the_audit_log_contains_every_change_in_order(live):
    publish(live, "v1", b"audited")
    actors.roll_out(live, "r", "v1")
    entries = ok(live.call("GET", "/v1/admin/audit", scope="viewer"))
    verbs = [entry["verb"] for entry in entries]
    wanted = [
        "version.declare",
        "version.submit",
        "version.ready",
        "cohort.put",
        "rollout.create",
        "rollout.start",
    ]
    assert [verb for verb in verbs if verb in wanted] == wanted
    actor = {entry["verb"]: entry["actor"] for entry in entries}
    assert (actor["version.declare"], actor["version.ready"], actor["rollout.start"]) == (
        "publisher",
        "worker",
        "release-manager",
    )
    later = ok(live.call("GET", f"/v1/admin/audit?after={entries[-2]['id']}"))
    assert later == entries[-1:]
