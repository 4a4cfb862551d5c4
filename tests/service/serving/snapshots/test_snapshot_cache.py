"""The snapshot: what it contains, and what happens while the database is down."""

import pytest

from service import store
from service.infrastructure import database
from service.operations.fleet import cohorts
from service.serving.snapshots.loader import load_snapshot
from service.serving.snapshots.snapshot import Snapshot
from tests.service.support import actors
from tests.service.support.actors import cohort, enroll, ok, publish, refused, roll_out, stage
from tests.service.support.outage import Outage

DATA = b"weights"
ALL_DAY = {"start": "00:00", "end": "23:59"}


def load(live):
    with database.read_only(live.engine) as session:
        return load_snapshot(session)


def test_the_snapshot_contains_only_ready_versions(live):
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    assert load(live).models["m"].versions == {}
    publish(live, "v1", DATA)
    assert list(load(live).models["m"].versions) == ["v1"]


def test_an_invalid_cohort_stops_only_its_own_rollouts(live):
    publish(live, "v1", DATA)
    for name in ("bad", "good"):
        cohort(live, name, {"attr": "soc", "eq": name})
    cohort(live, "inner", devices=["d1"])
    cohort(live, "outer", {"cohort": "inner"})
    for priority, name in enumerate(("bad", "good", "outer")):
        roll_out(live, name, "v1", stage(name), priority=priority)
    actors.write(live, """update cohorts set rule = '{"magic": 1}' where name = 'bad'""")
    actors.refresh(live)
    assert {rollout.name for rollout in load(live).models["m"].rollouts} == {"good", "outer"}
    assert enroll(live).poll(attributes={"soc": "good"})["need_update"]


def test_an_invalid_version_does_not_stop_the_others(live):
    publish(live, "v1", DATA)
    publish(live, "v2", DATA + b"2")
    actors.write(
        live,
        """update variants set selector = '{"magic": 1}' from versions
           where versions.id = version_id and label = 'v2'""",
    )
    assert list(load(live).models["m"].versions) == ["v1"]


def test_an_unknown_time_zone_stops_only_its_own_rollout(live):
    publish(live, "v1", DATA)
    roll_out(live, "here", "v1")
    roll_out(live, "gone", "v1", priority=1, policy={"windows": {"zone": "UTC", "daily": [ALL_DAY]}})
    actors.write(
        live,
        """update rollouts set policy = jsonb_set(policy, '{windows,zone}', '"Atlantis/Capital"') where name = 'gone'""",
    )
    assert [rollout.name for rollout in load(live).models["m"].rollouts] == ["here"]


def test_a_failed_load_leaves_the_old_snapshot(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    cache = actors.process(live).snapshots
    before = cache.current
    actors.write(live, "alter table cohort_members rename to hidden")
    actors.write(live, "update models set description = 'x'")
    live.client.portal.call(cache.try_refresh)
    assert cache.current is before
    assert enroll(live).poll()["need_update"]
    actors.write(live, "alter table hidden rename to cohort_members")
    live.client.portal.call(cache.try_refresh)
    assert cache.current.epoch > before.epoch


def test_the_snapshot_is_not_reloaded_while_nothing_changes(live):
    cache = actors.process(live).snapshots
    actors.refresh(live)
    before = cache.current
    actors.refresh(live)
    assert cache.current is before


def test_while_the_database_is_down_polls_are_answered_without_offers(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    device = enroll(live)
    with Outage(live.settings.database_url):
        assert device.poll("v1")["reason"] == "up_to_date"
        response = device.poll()
        assert (response["need_update"], response["reason"], response["action"]) == (
            False,
            "degraded",
            "none",
        )
        assert 150 <= response["next_poll_s"] <= 450
        event = device.event(None, "metrics")
        refused(device.post("/v1/model/events", [event]), 503, "unavailable")
        refused(live.call("GET", "/v1/admin/models"), 503, "unavailable")
        assert live.client.get("/ready").status_code == 503
        assert ok(live.client.get("/health"))
    assert device.poll()["need_update"]
    assert device.report(event) == {"accepted": 1, "duplicates": 0}
    assert live.client.get("/ready").status_code == 200


@pytest.mark.parametrize("rule", [{"cohort": "b"}, {"cohort": "absent"}, {"magic": 1}])
def test_every_invalid_cohort_is_logged(rule):
    row = store.cohorts.CohortRow
    rows = [row(name="a", rule=rule), row(name="b", rule={"cohort": "a"}), row(name="c", rule={})]
    valid, errors = cohorts.compile_valid(rows, {})
    assert (list(valid), sorted(errors)) == (["c"], ["a", "b"])


def test_a_process_without_a_snapshot_is_not_ready():
    assert Snapshot().models == {}
