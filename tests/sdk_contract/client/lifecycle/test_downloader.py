"""Complete updates over an unreliable network."""

import random
from dataclasses import replace
from typing import Any

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.host.conditions import DeviceConditions, StaticHost
from sdk_contract.client.transfer.range_download import DownloadLimits
from sdk_contract.wire import Conditions
from tests.sdk_contract.client.conftest import TORTURE, content, fine_tuned, settings, weights
from tests.sdk_contract.client.documents import sha256_hex, timestamp_in
from tests.sdk_contract.client.http_faults import HttpFault

BASE = weights(1, 1_200_000)
NEXT = fine_tuned(BASE)
EAGER = DownloadLimits(timeout_s=5, max_tries=1, retry_delay_s=0.0, checkpoint_bytes=20_000)


@pytest.fixture
def agent(server, enroll):
    server.publish("v1", 1, {"backbone": BASE})
    server.publish("v2", 2, {"backbone": NEXT})
    agent = enroll("v1", settings=settings(limits=EAGER))
    server.target = "v2"
    return agent


def reopened(agent, **options):
    """Reopen the device's directory, as a new process does."""
    return Agent(agent._store.directory, settings(limits=EAGER, **options))


def test_another_process_resumes_a_full_file_without_downloading_a_byte_twice(server, agent):
    server.faults.extend([HttpFault(cut=1_000_000), HttpFault(status=500)])
    assert agent.update().code == "server_busy"
    assert agent.status()["state"] == "paused"
    result = reopened(agent).update()
    assert (result.status, result.bytes_downloaded) == ("updated", len(NEXT) - 1_000_000)
    assert content(agent) == {"backbone": NEXT}
    assert server.events[-1].bytes == len(NEXT)


def test_another_process_resumes_a_patch_at_its_last_block(server, agent):
    patch = server.patch(BASE, NEXT)
    server.faults.append(HttpFault(cut=int(len(patch) * 0.95)))
    assert agent.update().code == "unreachable"
    result = reopened(agent).update()
    assert (result.status, result.download_format) == ("updated", "glp1")
    assert result.bytes_downloaded < len(patch) * 0.5
    assert content(agent) == {"backbone": NEXT}


def test_a_corrupt_partial_file_of_a_patch_is_built_again(server, agent):
    patch = server.patch(BASE, NEXT)
    server.faults.append(HttpFault(cut=int(len(patch) * 0.95)))
    agent.update()
    partial = agent._store.partial / sha256_hex(NEXT)
    partial.write_bytes(bytes(partial.stat().st_size))
    result = reopened(agent).update()
    assert (result.status, result.download_format) == ("updated", "glp1")
    assert content(agent) == {"backbone": NEXT}


def test_a_corrupt_partial_full_file_is_detected_and_downloaded_again(server, agent):
    server.faults.extend([HttpFault(cut=1_000_000), HttpFault(status=500)])
    agent.update()
    with (agent._store.partial / sha256_hex(NEXT)).open("r+b") as stream:
        stream.write(b"rot")
    result = reopened(agent).update()
    assert result.status == "updated"
    assert result.bytes_wasted == len(NEXT) - 1_000_000
    assert content(agent) == {"backbone": NEXT}


def test_an_expired_url_is_renewed_within_the_attempt(server, agent):
    server.faults.extend([HttpFault(status=403), HttpFault(status=403)])
    result = agent.update()
    assert (result.status, result.version) == ("updated", "v2")
    assert len(server.polls) == 3
    assert {event.attempt_id for event in server.events} == {"attempt-1"}


def test_an_update_that_is_replaced_during_the_download_is_followed(server, agent):
    third = fine_tuned(NEXT, seed=3)
    server.publish("v3", 3, {"backbone": third})
    server.faults.append(HttpFault(status=403))

    def change(response):
        server.target, server.attempt = "v3", "attempt-2"
        return response

    server.alter = change
    result = agent.update()
    assert (result.status, result.version) == ("updated", "v3")
    assert [event.state for event in server.events if event.attempt_id == "attempt-1"][-1] == "superseded"


def test_a_withdrawn_update_ends_the_attempt(server, agent):
    server.faults.extend([HttpFault(cut=1_000_000), HttpFault(status=500)])
    agent.update()
    server.target = None
    assert agent.update().status == "none"
    assert server.states[-1] == "superseded"
    assert list(agent._store.partial.iterdir()) == []


@pytest.mark.parametrize("reason", ["degraded", "paused", "throttled", "patch_building"])
def test_a_temporary_reason_keeps_the_partial_download(server, agent, reason):
    server.faults.extend([HttpFault(cut=1_000_000), HttpFault(status=500)])
    agent.update()
    server.target = None
    server.alter_directive = lambda fields: fields | {"reason": reason}
    assert agent.update().reason == reason
    server.target, server.alter_directive = "v2", lambda fields: fields
    assert agent.update().bytes_downloaded == len(NEXT) - 1_000_000


class FixedConditions(StaticHost):
    def __init__(self, **conditions):
        self._conditions = DeviceConditions(**conditions)

    def conditions(self):
        return self._conditions


@pytest.mark.parametrize(
    ("required", "conditions"),
    [
        (Conditions(network="unmetered"), FixedConditions(metered=True)),
        (Conditions(charging=True), FixedConditions(charging=False)),
        (Conditions(idle=True), FixedConditions(idle=False)),
        (Conditions(), FixedConditions(online=False)),
    ],
)
def test_an_update_waits_until_the_device_meets_the_conditions(server, agent, required, conditions):
    server.alter = lambda response: response | {"conditions": required.model_dump()}
    result = reopened(agent, host=conditions).update()
    assert (result.status, result.code, result.bytes_downloaded) == ("waiting", "conditions_unmet", 0)
    assert agent.status()["state"] == "waiting"
    reopened(agent, host=conditions).update()
    assert [(event.state, event.code) for event in server.events] == [
        ("acknowledged", None),
        ("acknowledged", "conditions_unmet"),
    ]
    assert agent.update().status == "updated"


def test_a_download_pauses_when_the_conditions_end_and_continues_later(server, agent):
    class LeavingNetwork(StaticHost):
        required = 0

        def conditions(self):
            self.required += 1
            return DeviceConditions(metered=self.required > 6)

    required = Conditions(network="unmetered")
    server.alter = lambda response: response | {"conditions": required.model_dump()}
    server.faults.append(HttpFault(slice=50_000))
    impatient = replace(EAGER, condition_interval_s=0.0)
    result = Agent(agent._store.directory, settings(host=LeavingNetwork(), limits=impatient)).update()
    assert (result.status, result.code) == ("waiting", "conditions_unmet")
    assert 0 < result.bytes_downloaded < len(NEXT)
    rest = agent.update()
    assert (rest.status, rest.bytes_downloaded) == ("updated", len(NEXT) - result.bytes_downloaded)


def test_after_the_deadline_conditions_are_ignored(server, agent):
    required = Conditions(network="unmetered", deadline=timestamp_in(minutes=-1))
    server.alter = lambda response: response | {"conditions": required.model_dump()}
    assert reopened(agent, host=FixedConditions(metered=True)).update().status == "updated"


def test_a_forged_response_does_not_end_the_attempt(server, agent):
    server.faults.extend([HttpFault(cut=1_000_000), HttpFault(status=500)])
    agent.update()
    server.alter_directive = lambda fields: fields | {"nonce": "A" * 32}
    assert agent.update().code == "wrong_nonce"
    server.alter_directive = lambda fields: fields
    assert agent.update().bytes_downloaded == len(NEXT) - 1_000_000


def test_a_forged_response_to_a_url_renewal_does_not_end_the_attempt(server, agent):
    server.faults.append(HttpFault(status=403))
    nonces = iter([{}, {"nonce": "A" * 32}])
    server.alter_directive = lambda fields: fields | next(nonces, {})
    assert agent.update().code == "url_expired"
    assert agent.status()["state"] == "paused"
    assert agent.update().status == "updated"


def test_a_temporarily_rejected_device_keeps_its_partial_download(server, agent):
    server.faults.extend([HttpFault(cut=1_000_000), HttpFault(status=500)])
    agent.update()
    server.poll_responses.append((403, {"code": "suspended"}, {}))
    assert agent.update().code == "request_rejected"
    assert agent.update().bytes_downloaded == len(NEXT) - 1_000_000


def test_a_used_up_byte_budget_waits_and_keeps_the_partial_download(server, agent):
    result = reopened(agent, host=FixedConditions(byte_budget=1_000_000)).update()
    assert (result.status, result.code) == ("waiting", "byte_budget_exceeded")
    result = agent.update()
    assert result.status == "updated"
    assert result.bytes_downloaded < len(NEXT) - 500_000


def test_with_a_corrupt_source_the_full_file_is_downloaded(server, agent):
    server.patch(BASE, NEXT)
    path = agent._store.objects / sha256_hex(BASE)
    path.write_bytes(b"rot" + BASE[3:])
    result = agent.update()
    assert (result.status, result.download_format) == ("updated", "full")
    assert content(agent) == {"backbone": NEXT}


def test_random_network_faults_end_with_the_correct_files(server, agent, tmp_path):
    server.patch(BASE, NEXT)
    rng = random.Random(11)
    statuses = [403, 404, 429, 500, 503]
    for number in range(60 if TORTURE else 12):
        server.attempt, server.target, server.action = f"there-{number}", "v2", "install"
        for _ in range(rng.randint(1, 6)):
            kind = rng.choice(["cut", "status", "ignore_range", "shift", "claim", "flip", "slice"])
            value: Any = {
                "cut": rng.randint(0, 90_000),
                "status": rng.choice(statuses),
                "ignore_range": True,
                "shift": rng.randint(-5000, 5000),
                "claim": rng.randint(1, 5000),
                "flip": rng.randint(0, 90_000),
                "slice": 4000,
            }[kind]
            server.faults.append(HttpFault(**{kind: value}))
        for _ in range(12):
            assert agent.update().status in {"updated", "up_to_date", "failed", "waiting"}
            assert content(agent)["backbone"] in (BASE, NEXT)
            if agent.installed().version == "v2":
                break
        assert content(agent) == {"backbone": NEXT}
        server.attempt, server.target, server.action = f"back-{number}", "v1", "rollback"
        server.faults.clear()
        assert agent.update().version == "v1"
