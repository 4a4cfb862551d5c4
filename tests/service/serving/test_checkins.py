import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from service import database
from service.serving.checkins import Checkin, Checkins
from service.store.devices import DeviceRow, InstallationRow
from service.store.versions import ModelRow
from tests.service.serving.outage import Outage

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def fleet(engine):
    with database.transaction(engine) as session:
        session.add(ModelRow(name="m"))
        session.add(ModelRow(name="n"))
        for name in ("d1", "d2"):
            session.add(DeviceRow(id=name, public_key=b"", status="accepted", attributes={"soc": "x"}))
    return engine


def note(settings, *items, **bounds):
    """Note check-ins and flush them once."""

    async def main():
        engine = database.async_engine_for(settings.database_url)
        kept = Checkins(engine, **bounds)
        for item in items:
            kept.note(item)
        await kept.flush()
        await engine.dispose()

    asyncio.run(main())


def checkin(device="d1", model="m", version="v1", at=NOW, **attributes):
    return Checkin(device, model, version, attributes, at)


def found(engine):
    with database.read_only(engine) as session:
        installed = {(row.device_id, row.model): row.version for row in session.query(InstallationRow)}
        seen = {row.id: (row.seen_at, row.attributes) for row in session.query(DeviceRow)}
    return installed, seen


def test_the_newest_of_each_device_and_model_is_written(settings, fleet):
    later = NOW + timedelta(minutes=1)
    note(settings, checkin(), checkin(version="v2", at=later, soc="y"), checkin(model="n"), checkin("d2"))
    installed, seen = found(fleet)
    assert installed == {("d1", "m"): "v2", ("d1", "n"): "v1", ("d2", "m"): "v1"}
    assert seen == {"d1": (later, {"soc": "y"}), "d2": (NOW, {"soc": "x"})}


def test_a_device_that_says_nothing_keeps_what_is_known_of_it(settings, fleet):
    note(settings, checkin(soc="y"))
    note(settings, checkin(version=None))
    installed, seen = found(fleet)
    assert (installed, seen["d1"][1]) == ({("d1", "m"): "v1"}, {"soc": "y"})


def test_an_older_checkin_of_another_process_does_not_turn_the_clock_back(settings, fleet):
    note(settings, checkin(at=NOW))
    note(settings, checkin(at=NOW - timedelta(minutes=1)))
    assert found(fleet)[1]["d1"][0] == NOW


def test_who_has_not_enrolled_leaves_no_row(settings, fleet):
    note(settings, checkin("ghost"), checkin())
    assert set(found(fleet)[1]) == {"d1", "d2"}


@pytest.mark.parametrize(
    "poison",
    [checkin("d2", "no model"), checkin("d2", load=float("nan")), checkin("d2", soc="\ud800")],
)
def test_one_that_cannot_be_written_is_dropped_and_takes_no_other_with_it(settings, fleet, poison):
    note(settings, checkin(), poison, checkin(model="n"))
    assert set(found(fleet)[0]) == {("d1", "m"), ("d1", "n")}


def test_while_the_database_is_away_the_newest_are_kept(settings, fleet):
    async def main():
        engine = database.async_engine_for(settings.database_url)
        kept = Checkins(engine)
        kept.note(checkin(version="v1"))
        kept.note(checkin("d2"))
        with Outage(settings.database_url):
            await kept.flush()
            kept.note(checkin(version="v2"))
        await kept.flush()
        await engine.dispose()

    asyncio.run(main())
    assert found(fleet)[0] == {("d1", "m"): "v2", ("d2", "m"): "v1"}


def test_memory_is_bounded_and_who_is_known_may_still_change(settings, fleet):
    note(settings, checkin(version="v1"), checkin("d2"), checkin(version="v2"), max_kept=1)
    assert found(fleet)[0] == {("d1", "m"): "v2"}
