"""Servers are killed and restarted under a running API: polls continue, and no accepted event is lost."""

import asyncio

import psycopg
import pytest

from service.testbed import dataset
from service.testbed.devices import events_body
from tests.journeys.fleet_servers import RECOVERY_S, Phone, api, fleet_servers
from tests.waiting import wait_until_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FLEET = 12


@pytest.fixture(scope="module")
def servers():
    phones = [Phone(number, 0) for number in range(FLEET)]
    with fleet_servers([phone.device for phone in phones]) as running:
        running.devices = [phone.device for phone in phones]
        yield running


def phones_at(servers, port):
    made = [Phone(number, port) for number in range(FLEET)]
    for phone, device in zip(made, servers.devices, strict=True):
        phone.device = device
    return made


def count_events(servers):
    with psycopg.connect(servers.settings.database_url.replace("+psycopg", "")) as connection:
        (count,) = connection.execute("select count(*) from events").fetchall()[0]
        return count


def test_without_postgres_polls_continue_offers_wait_and_no_accepted_event_is_lost(servers):
    async def scenario():
        async with api(servers) as (_pid, port):
            one, two, three, *_ = phones_at(servers, port)
            assert (await one.poll(dataset.NO_UPDATE_MODEL, signed=True))[0] == 200
            assert (await one.poll(dataset.UPDATE_MODEL))[1]["reason"] == "update"
            before, batch = events_body(5), events_body(3)
            assert (await one.report(before))[1] == {"accepted": 5, "duplicates": 0}
            servers.kill("postgres")
            for _ in range(5):
                status, response = await two.poll(dataset.NO_UPDATE_MODEL)
                assert (status, response["need_update"]) == (200, False)
            # The API has verified this key recently, and without the database nobody can revoke it.
            assert (await one.poll(dataset.NO_UPDATE_MODEL, signed=True))[0] == 200
            status, response = await two.poll(dataset.UPDATE_MODEL)
            assert (status, response["reason"], response["action"]) == (200, "degraded", "none")
            status, problem = await two.report(batch)
            assert (status, problem["code"], problem["retryable"]) == (503, "unavailable", True)
            assert problem["retry_after_s"] >= 1
            servers.restart("postgres")

            async def offered():
                return (await three.poll(dataset.UPDATE_MODEL))[1].get("reason") == "update"

            recovery_s = await within_recovery(offered)
            assert (await two.report(batch))[1] == {"accepted": 3, "duplicates": 0}
            assert (await one.report(before))[1] == {"accepted": 0, "duplicates": 5}
            return recovery_s

    asyncio.run(scenario())
    assert count_events(servers) == 8


def test_without_valkey_polls_and_offers_continue_and_only_signed_events_wait(servers):
    async def scenario():
        async with api(servers) as (_pid, port):
            *_, four, five, six = phones_at(servers, port)
            servers.kill("valkey")
            assert (await four.poll(dataset.NO_UPDATE_MODEL))[0] == 200
            assert (await four.poll(dataset.NO_UPDATE_MODEL, signed=True))[0] == 200
            assert (await five.poll(dataset.UPDATE_MODEL))[1]["reason"] == "update"
            assert (await five.report())[0] == 202
            assert (await six.report(signed=True))[0] == 503
            servers.restart("valkey")

            async def accepted():
                return (await six.report(signed=True))[0] == 202

            await within_recovery(accepted)

    asyncio.run(scenario())


def test_without_the_object_store_polls_and_offers_continue(servers):
    async def scenario():
        async with api(servers) as (_pid, port):
            seven = phones_at(servers, port)[7]
            servers.kill("seaweedfs")
            assert (await seven.poll(dataset.NO_UPDATE_MODEL))[0] == 200
            status, response = await seven.poll(dataset.UPDATE_MODEL)
            assert (status, response["reason"]) == (200, "update")
            assert all(option["url"] for part in response["downloads"] for option in part.get("options", []))

    asyncio.run(scenario())


async def within_recovery(attempt):
    """Wait for an attempt to succeed; return the seconds it took."""
    started = asyncio.get_running_loop().time()
    await wait_until_async(attempt, "the recovery", RECOVERY_S)
    return asyncio.get_running_loop().time() - started
