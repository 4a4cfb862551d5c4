"""Check-ins of devices."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from service.infrastructure import database
from service.serving.checkins import Checkin, CheckinBuffer
from service.store.fleet.devices import DeviceRow, InstallationRow
from service.store.releases.versions import ModelRow
from tests.service.support.outage import Outage

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def fleet(engine):
    with database.transaction(engine) as session:
        session.add(ModelRow(name="m"))
        session.add(ModelRow(name="n"))
        for name in ("d1", "d2"):
            session.add(DeviceRow(id=name, public_key=b"", status="accepted", attributes={"soc": "x"}))
    return engine


def record(settings, *items, **bounds):
    """Record check-ins and flush them once."""

    async def main():
        engine = database.async_engine_for(settings.database_url)
        buffer = CheckinBuffer(engine, **bounds)
        for item in items:
            buffer.record(item)
        await buffer.flush()
        await engine.dispose()

    asyncio.run(main())


def checkin(device="d1", model="m", version="v1", at=NOW, **attributes):
    return Checkin(device, model, version, attributes, at)


def stored(engine):
    with database.read_only(engine) as session:
        installed = {(row.device_id, row.model): row.version for row in session.query(InstallationRow)}
        seen = {row.id: (row.seen_at, row.attributes) for row in session.query(DeviceRow)}
    return installed, seen


def test_the_newest_checkin_of_each_device_and_model_is_written(settings, fleet):
    later = NOW + timedelta(minutes=1)
    record(settings, checkin(), checkin(version="v2", at=later, soc="y"), checkin(model="n"), checkin("d2"))
    installed, seen = stored(fleet)
    assert installed == {("d1", "m"): "v2", ("d1", "n"): "v1", ("d2", "m"): "v1"}
    assert seen == {"d1": (later, {"soc": "y"}), "d2": (NOW, {"soc": "x"})}


def test_a_checkin_without_attributes_keeps_the_stored_ones(settings, fleet):
    record(settings, checkin(soc="y"))
    record(settings, checkin(version=None))
    installed, seen = stored(fleet)
    assert (installed, seen["d1"][1]) == ({("d1", "m"): "v1"}, {"soc": "y"})


def test_an_older_checkin_of_another_process_does_not_move_seen_at_back(settings, fleet):
    record(settings, checkin(at=NOW))
    record(settings, checkin(at=NOW - timedelta(minutes=1)))
    assert stored(fleet)[1]["d1"][0] == NOW


def test_an_unknown_device_creates_no_row(settings, fleet):
    record(settings, checkin("ghost"), checkin())
    assert set(stored(fleet)[1]) == {"d1", "d2"}


@pytest.mark.parametrize(
    "invalid",
    [checkin("d2", "no model"), checkin("d2", load=float("nan")), checkin("d2", soc="\ud800")],
)
def test_a_checkin_that_cannot_be_written_is_dropped_and_the_others_are_written(settings, fleet, invalid):
    record(settings, checkin(), invalid, checkin(model="n"))
    assert set(stored(fleet)[0]) == {("d1", "m"), ("d1", "n")}


def test_while_the_database_is_down_the_newest_checkins_are_kept(settings, fleet):
    async def main():
        engine = database.async_engine_for(settings.database_url)
        buffer = CheckinBuffer(engine)
        buffer.record(checkin(version="v1"))
        buffer.record(checkin("d2"))
        with Outage(settings.database_url):
            await buffer.flush()
            buffer.record(checkin(version="v2"))
        await buffer.flush()
        await engine.dispose()

    asyncio.run(main())
    assert stored(fleet)[0] == {("d1", "m"): "v2", ("d2", "m"): "v1"}


def test_the_buffer_is_bounded_and_buffered_devices_may_still_change(settings, fleet):
    record(settings, checkin(version="v1"), checkin("d2"), checkin(version="v2"), max_devices=1)
    assert stored(fleet)[0] == {("d1", "m"): "v2"}
