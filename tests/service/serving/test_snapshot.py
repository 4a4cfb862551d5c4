import pytest

from service import database
from service.operations import cohorts
from service.serving.snapshot import Snapshot, build
from tests.service import actors
from tests.service.actors import cohort, enrol, ok, publish, refused, roll_out, stage
from tests.service.serving.outage import Outage

DATA = b"weights of the snapshot"
ALL_DAY = {"start": "00:00", "end": "23:59"}


def look(live):
    with database.read_only(live.engine) as session:
        return build(session)


def test_a_version_that_is_not_ready_is_not_in_it(live):
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    assert look(live).lines["m"].versions == {}
    publish(live, "v1", DATA)
    assert list(look(live).lines["m"].versions) == ["v1"]


def test_a_cohort_that_cannot_be_read_stops_its_own_rollouts_and_no_others(live):
    publish(live, "v1", DATA)
    for name in ("bad", "good"):
        cohort(live, name, {"attr": "soc", "eq": name})
    cohort(live, "inner", devices=["d1"])
    cohort(live, "outer", {"cohort": "inner"})
    for priority, name in enumerate(("bad", "good", "outer")):
        roll_out(live, name, "v1", stage(name), priority=priority)
    actors.write(live, """update cohorts set rule = '{"magic": 1}' where name = 'bad'""")
    actors.refresh(live)
    assert {rollout.name for rollout in look(live).lines["m"].rollouts} == {"good", "outer"}
    assert enrol(live).poll(attributes={"soc": "good"})["need_update"]


def test_a_version_that_cannot_be_read_takes_no_other_with_it(live):
    publish(live, "v1", DATA)
    publish(live, "v2", DATA + b"2")
    actors.write(
        live,
        """update variants set selector = '{"magic": 1}' from versions
           where versions.id = version_id and label = 'v2'""",
    )
    assert list(look(live).lines["m"].versions) == ["v1"]


def test_a_time_zone_that_is_gone_stops_its_own_rollout_and_no_other(live):
    publish(live, "v1", DATA)
    roll_out(live, "here", "v1")
    roll_out(live, "gone", "v1", priority=1, policy={"windows": {"zone": "UTC", "daily": [ALL_DAY]}})
    actors.write(
        live,
        """update rollouts set policy = jsonb_set(policy, '{windows,zone}', '"Atlantis/Capital"') where name = 'gone'""",
    )
    assert [rollout.name for rollout in look(live).lines["m"].rollouts] == ["here"]


def test_what_cannot_be_read_at_all_leaves_the_old_view_in_place(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    keeper = actors.process(live).snapshots
    before = keeper.current
    actors.write(live, "alter table cohort_members rename to hidden")
    actors.write(live, "update models set description = 'x'")
    live.client.portal.call(keeper.try_refresh)
    assert keeper.current is before
    assert enrol(live).poll()["need_update"]
    actors.write(live, "alter table hidden rename to cohort_members")
    live.client.portal.call(keeper.try_refresh)
    assert keeper.current.epoch > before.epoch


def test_nothing_is_read_again_while_nothing_has_changed(live):
    keeper = actors.process(live).snapshots
    actors.refresh(live)
    before = keeper.current
    actors.refresh(live)
    assert keeper.current is before


def test_polls_are_answered_while_the_database_is_away_and_offers_wait(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    device = enrol(live)
    with Outage(live.settings.database_url):
        assert device.poll("v1")["reason"] == "up_to_date"
        waiting = device.poll()
        assert (waiting["need_update"], waiting["reason"], waiting["action"]) == (False, "degraded", "none")
        assert 150 <= waiting["next_poll_s"] <= 450
        event = device.event(None, "metrics")
        refused(device.post("/v1/model/events", [event]), 503, "unavailable")
        refused(live.call("GET", "/v1/admin/models"), 503, "unavailable")
        assert live.client.get("/ready").status_code == 503
        assert ok(live.client.get("/health"))
    assert device.poll()["need_update"]
    assert device.report(event) == {"accepted": 1, "duplicates": 0}
    assert live.client.get("/ready").status_code == 200


@pytest.mark.parametrize("rule", [{"cohort": "b"}, {"cohort": "absent"}, {"magic": 1}])
def test_compiling_names_every_cohort_that_cannot_be_read(rule):
    row = cohorts.store.cohorts.CohortRow
    rows = [row(name="a", rule=rule), row(name="b", rule={"cohort": "a"}), row(name="c", rule={})]
    done, faults = cohorts.compile_readable(rows, {})
    assert (list(done), sorted(faults)) == (["c"], ["a", "b"])


def test_a_process_that_has_read_nothing_serves_nothing():
    assert Snapshot().lines == {}
