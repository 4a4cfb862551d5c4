import json
import shutil

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.errors import Busy, InsecureServer, RequestRejected, StateDamaged
from sdk_contract.errors import InputHashMismatch, UnknownKey
from tests.sdk_contract.client.conftest import content, fine_tuned, record_of, settings, weights
from tests.sdk_contract.client.documents import Key, sha256_hex
from tests.sdk_contract.client.http_faults import HttpFault

BASE = weights(1)
NEXT = fine_tuned(BASE)
TOKENIZER = b"a tokenizer " * 40


@pytest.fixture
def server(server):
    server.publish("v1", 1, {"backbone": BASE, "tokenizer": TOKENIZER})
    server.publish("v2", 2, {"backbone": NEXT, "tokenizer": TOKENIZER})
    return server


class ByteRuntime:
    """A runtime that loads bytes, and accepts all that it can read."""

    def __init__(self, fail_load=0, fail_smoke=False):
        self.fail_load, self.fail_smoke, self.open = fail_load, fail_smoke, 0

    def load(self, installed):
        if self.fail_load:
            self.fail_load -= 1
            raise ValueError("not today")
        self.open += 1
        return installed.components["backbone"].read_bytes()

    def smoke_test(self, loaded):
        if self.fail_smoke:
            raise AssertionError("answers are wrong")
        return {"quality": 0.5 + len(loaded) * 0}

    def close(self, _loaded):
        self.open -= 1


def test_a_device_runs_the_factory_version_before_its_first_poll(server, enroll):
    agent = enroll("v1")
    assert content(agent) == {"backbone": BASE, "tokenizer": TOKENIZER}
    assert agent.installed().version == "v1"


def test_a_poll_without_an_update_changes_nothing_and_returns_the_reason(server, enroll):
    result = enroll("v1").update()
    assert (result.status, result.reason, result.version) == ("none", "no_rollout", "v1")
    assert result.next_poll_s == 300


def test_an_update_is_installed_by_patch_and_every_step_is_reported(server, enroll):
    patch = server.patch(BASE, NEXT)
    agent = enroll("v1")
    server.target = "v2"
    result = agent.update(ByteRuntime())
    assert (result.status, result.download_format, result.version) == ("updated", "glp1", "v2")
    assert result.bytes_downloaded == len(patch) < len(BASE) / 4
    assert content(agent) == {"backbone": NEXT, "tokenizer": TOKENIZER}
    assert server.states == ["acknowledged", "downloading", "downloaded", "staged", "activating", "committed"]
    last = server.events[-1]
    assert last.bytes == len(patch)
    assert set(last.metrics) == {"load_ms", "quality"}
    assert [event.seq for event in server.events] == [1, 2, 3, 4, 5, 6]


def test_the_runtime_closes_what_it_loaded(server, enroll):
    agent, runtime = enroll("v1"), ByteRuntime()
    server.target = "v2"
    agent.update(runtime)
    assert runtime.open == 0


def test_a_device_without_a_model_downloads_every_component_as_a_full_file(server, enroll):
    agent = enroll()
    server.target = "v2"
    result = agent.update()
    assert (result.status, result.download_format) == ("updated", "full")
    assert content(agent) == {"backbone": NEXT, "tokenizer": TOKENIZER}


def test_an_unchanged_component_is_not_downloaded_again(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    agent.update()
    assert [digest for digest, *_ in server.downloads] == [sha256_hex(NEXT)]


def test_after_a_corrupt_patch_the_full_file_is_downloaded_in_the_same_attempt(server, enroll):
    server.patch(BASE, NEXT)
    agent = enroll("v1")
    server.target = "v2"
    server.faults.append(HttpFault(flip=3000))
    result = agent.update()
    assert (result.status, result.download_format) == ("updated", "full")
    assert content(agent)["backbone"] == NEXT
    codes = [event.code for event in server.events if event.code]
    assert codes == ["patch_corrupt"]
    assert {event.attempt_id for event in server.events} == {"attempt-1"}


def test_a_full_file_with_a_wrong_digest_is_never_installed(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    server.faults.append(HttpFault(flip=5))
    result = agent.update()
    assert (result.status, result.code) == ("failed", "input_hash_mismatch")
    assert content(agent)["backbone"] == BASE
    assert server.states[-1] == "failed"


def test_two_failed_loads_roll_back_and_the_blocked_version_is_not_tried_again(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    result = agent.update(ByteRuntime(fail_load=2))
    assert (result.status, result.code, result.version) == ("rolled_back", "load_failed", "v1")
    assert server.states[-1] == "rolled_back"
    server.attempt = "attempt-2"
    again = agent.update(ByteRuntime())
    assert (again.status, again.code) == ("failed", "version_blocked")
    assert server.states[-1] == "rejected"
    assert content(agent)["backbone"] == BASE


def test_the_server_can_order_a_retry_of_a_blocked_version(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    agent.update(ByteRuntime(fail_smoke=True))
    server.attempt, server.directive_ext = "attempt-2", {"retry": True}
    assert agent.update(ByteRuntime()).status == "updated"
    assert agent.status()["blocklist"] == {}


def test_one_failed_load_is_retried(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    assert agent.update(ByteRuntime(fail_load=1)).status == "updated"


def test_a_failed_smoke_test_rolls_back_at_once(server, enroll):
    agent, runtime = enroll("v1"), ByteRuntime(fail_smoke=True)
    server.target = "v2"
    result = agent.update(runtime)
    assert (result.status, result.code) == ("rolled_back", "smoke_failed")
    assert runtime.open == 0
    assert agent.installed().version == "v1"


def test_the_server_can_order_a_rollback_that_needs_no_download(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    agent.update()
    server.target, server.action, server.attempt = "v1", "rollback", "attempt-2"
    result = agent.update()
    assert (result.status, result.reason, result.version) == ("updated", "rollback", "v1")
    assert result.bytes_downloaded == 0


def test_an_update_to_the_current_version_is_reported_as_committed_again(server, enroll):
    agent = enroll("v1")
    server.target, server.always_offer = "v1", True
    result = agent.update()
    assert (result.status, result.bytes_downloaded) == ("up_to_date", 0)
    assert server.states == ["committed"]


def test_metrics_are_queued_on_disk_and_sent_once(server, enroll):
    agent = enroll("v1")
    agent.report_metrics({"quality": 0.93, "first_token_ms": 41})
    assert len(record_of(agent)["outbox"]) == 1
    assert Agent(agent._store.directory, settings()).send_events() == 1
    assert agent.send_events() == 0
    event = server.events[0]
    assert (event.state, event.version, event.metrics["quality"]) == ("metrics", "v1", 0.93)


def test_a_malformed_event_does_not_block_the_other_events(server, enroll):
    agent = enroll("v1")
    agent.report_metrics({"quality": 1})
    agent.report_metrics({"quality": 2})
    original, server.take_events = server.take_events, lambda body: _reject_quality_1(original, body)
    assert agent.send_events() == 2
    assert [event.metrics["quality"] for event in server.events] == [2]


def _reject_quality_1(take, body):
    if any(event["metrics"] == {"quality": 1.0} for event in json.loads(body)):
        return 422, {"type": "about:blank", "title": "no", "status": 422, "code": "event"}
    return take(body)


def test_an_expired_access_token_is_renewed_once(server, enroll):
    agent = enroll("v1")
    server.tokens.clear()
    assert agent.update().status == "none"
    assert server.token_requests == 1


def test_the_result_has_the_delay_that_a_busy_server_asks_for(server, enroll):
    agent = enroll("v1")
    server.poll_responses.append((503, {"code": "degraded"}, {"Retry-After": "120"}))
    result = agent.update()
    assert (result.status, result.code, result.retry_after_s) == ("failed", "server_busy", 120)


def test_only_one_update_can_run_in_a_directory(server, enroll):
    agent = enroll("v1")
    with agent._store.update_lock(), pytest.raises(Busy, match="busy: another process uses"):
        Agent(agent._store.directory, settings()).update()


def test_an_app_can_start_while_another_process_downloads(server, enroll):
    agent = enroll("v1")
    with agent._store.update_lock():
        start = Agent(agent._store.directory, settings()).begin_start()
    assert start is not None
    assert start.version == "v1"


def test_a_wrong_enrollment_token_is_rejected(server, enroll):
    with pytest.raises(RequestRejected) as rejection:
        enroll("v1", token="guess")
    assert (rejection.value.status, rejection.value.problem) == (403, "enrollment_token")


def test_factory_files_are_verified_like_any_other_file(server, enroll):
    server.versions["v1"].files["backbone"] = BASE[:-1] + b"!"
    with pytest.raises(InputHashMismatch, match="does not match the component backbone in the manifest"):
        enroll("v1")


def test_a_factory_manifest_needs_the_publishers_signature(server, enroll):
    version = server.versions["v1"]
    version.envelope = version.manifest.sign([Key()])
    with pytest.raises(UnknownKey, match="unknown_key: no signature is by a key of this role"):
        enroll("v1")


def test_a_token_is_never_sent_over_plain_http_to_another_machine(server, tmp_path):
    with pytest.raises(
        InsecureServer, match=r"insecure_server: http://models\.example is not secure; use https, or"
    ):
        Agent.enroll(tmp_path, "http://models.example", "t", server.trust_chain[0], device_id="d")


def test_a_directory_without_an_enrolled_device_is_reported(tmp_path):
    with pytest.raises(StateDamaged, match="state_damaged: no device is enrolled in"):
        Agent(tmp_path)


def test_a_new_enrollment_repairs_a_device_with_corrupt_state(server, enroll, tmp_path):
    agent = enroll("v1")
    server.target = "v2"
    agent.update()
    for name in ("state.json", "state.copy", "trust.json"):
        (agent._store.directory / name).write_bytes(b"rot")
    with pytest.raises(
        StateDamaged, match=r"malformed: not JSON: Expecting value: line 1 column 1 \(char 0\)"
    ):
        Agent(agent._store.directory, settings())
    shutil.rmtree(tmp_path / "factory-device")
    again = enroll("v1")
    assert content(again)["backbone"] == BASE
    assert again.update().status == "updated"
    assert content(again)["backbone"] == NEXT


def test_a_corrupt_state_file_is_replaced_by_its_backup(server, enroll):
    agent = enroll("v1")
    server.target = "v2"
    agent.update()
    path = agent._store.directory / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"idle"', b'"idel"'))
    assert agent.update().status in {"up_to_date", "updated"}
    assert content(agent)["backbone"] == NEXT
