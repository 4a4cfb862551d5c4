"""Attacks by a server, or on the network: nothing is installed, and the broken rule is reported."""

import base64
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.protocol.verification import verify_poll_response
from sdk_contract.documents import format_timestamp
from sdk_contract.errors import ContractError
from sdk_contract.verification import PollContext, trusted_time
from sdk_contract.wire import PollRequest, PollResponse
from tests.sdk_contract.client.conftest import TORTURE, content, fine_tuned, settings, weights
from tests.sdk_contract.client.documents import Key, sha256_hex, timestamp_in

BASE = weights(1, 60_000)
NEXT = fine_tuned(BASE)


@pytest.fixture
def agent(server, enroll):
    server.publish("v1", 1, {"backbone": BASE})
    server.publish("v2", 2, {"backbone": NEXT})
    agent = enroll("v1")
    server.target = "v2"
    return agent


def rejection_code(server, agent):
    """Run an update that must be rejected, and return its code; the old version must stay, and the event be sent."""
    result = agent.update()
    assert result.status == "failed", result
    assert content(agent) == {"backbone": BASE}
    assert server.events[-1].state == "rejected"
    assert server.events[-1].code == result.code
    return result.code


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("device_id", "somebody-else", "wrong_device"),
        ("nonce", "A" * 32, "wrong_nonce"),
        ("nonce", "", "wrong_nonce"),
        ("request_sha256", "0" * 64, "wrong_request"),
        ("manifest_sha256", "0" * 64, "wrong_manifest"),
        ("variant", "for-another-chip", "wrong_variant"),
        ("expires", "2020-01-01T00:00:00Z", "expired"),
    ],
)
def test_a_directive_for_another_poll_is_rejected(server, agent, field, value, code):
    server.alter_directive = lambda fields: fields | {field: value}
    assert rejection_code(server, agent) == code


def test_a_directive_needs_the_directors_signature(server, agent):
    server.keys["director"] = Key()
    assert rejection_code(server, agent) == "unknown_key"


def test_a_directive_signed_by_the_publisher_is_rejected(server, agent):
    server.keys["director"] = server.keys["publisher"]
    assert rejection_code(server, agent) == "unknown_key"


def test_a_manifest_needs_the_publishers_signature(server, agent):
    version = server.versions["v2"]
    version.envelope = version.manifest.sign([server.keys["director"]])
    assert rejection_code(server, agent) == "unknown_key"


def test_a_flipped_bit_in_the_directive_is_rejected(server, agent):
    def alter(response):
        payload = bytearray(base64.b64decode(response["directive"]["payload"]))
        payload[10] ^= 1
        response["directive"]["payload"] = base64.b64encode(payload).decode()
        return response

    server.alter = alter
    assert rejection_code(server, agent) == "signature_invalid"


def test_a_replayed_response_is_rejected(server, agent):
    first = []

    def record(response):
        first.append(response)
        return response

    server.alter = record
    server.target = None
    agent.update()
    server.alter = lambda _: first[0]
    server.target = "v2"
    assert rejection_code(server, agent) == "wrong_nonce"


def test_an_older_version_is_rejected_unless_the_directive_orders_a_rollback(server, agent):
    assert agent.update().status == "updated"
    server.target, server.attempt = "v1", "attempt-2"
    result = agent.update()
    assert (result.status, result.code) == ("failed", "rollback_refused")
    assert content(agent) == {"backbone": NEXT}


def test_a_rollback_below_the_floor_is_rejected(server, agent):
    server.publish("v3", 3, {"backbone": weights(8, 60_000)}, floor=2)
    server.target = "v3"
    assert agent.update().status == "updated"
    server.target, server.action, server.attempt = "v1", "rollback", "attempt-2"
    assert agent.update().code == "rollback_refused"
    server.target, server.attempt = "v2", "attempt-3"
    assert agent.update().version == "v2"


def test_an_expired_manifest_is_not_installed_and_the_running_model_stays(server, agent):
    server.publish("v2", 2, {"backbone": NEXT}, expires=timestamp_in(days=-1))
    assert rejection_code(server, agent) == "expired"


def test_a_manifest_of_another_model_is_rejected(server, agent):
    version = server.versions["v2"]
    version.manifest = replace(version.manifest, model="other")
    version.envelope = version.manifest.sign([server.keys["publisher"]])
    assert rejection_code(server, agent) == "wrong_model"


def test_the_plain_fields_cannot_start_an_update(server, agent):
    server.target = None
    server.alter = lambda response: (
        response | {"need_update": True, "target_version": "v2", "action": "install"}
    )
    assert agent.update().status == "none"
    assert content(agent) == {"backbone": BASE}


def test_a_patch_with_another_target_is_skipped_for_the_full_file(server, agent):
    server.patch(BASE, NEXT)
    foreign = server.patch(BASE, weights(1, 60_000)[::-1][:1] + BASE[1:])
    key = next(key for key in server.descriptors if key[1] != sha256_hex(NEXT))
    server.descriptors[sha256_hex(BASE), sha256_hex(NEXT)] = server.descriptors[key]
    result = agent.update()
    assert (result.status, result.download_format) == ("updated", "full")
    assert content(agent) == {"backbone": NEXT}
    assert sha256_hex(foreign) not in {digest for digest, *_ in server.downloads}


def test_a_patch_descriptor_needs_the_patchers_signature(server, agent):
    server.patch(BASE, NEXT)
    envelope = json.loads(server.descriptors[sha256_hex(BASE), sha256_hex(NEXT)])
    payload = base64.b64decode(envelope["payload"])
    envelope["signatures"][0]["sig"] = base64.b64encode(server.keys["director"].sign(payload)).decode()
    server.descriptors[sha256_hex(BASE), sha256_hex(NEXT)] = json.dumps(envelope).encode()
    assert agent.update().download_format == "full"


def test_an_update_without_a_download_option_for_a_component_fails(server, agent):
    server.alter = lambda response: response | {"downloads": []}
    result = agent.update()
    assert (result.status, result.code) == ("failed", "mixed_versions")
    assert content(agent) == {"backbone": BASE}


def test_new_keys_are_trusted_if_the_old_root_keys_signed_them(server, agent):
    keys = server.keys | {"director": Key(), "root": Key()}
    bundle = server.trust_bundle(2, keys)
    server.trust_chain.append(bundle.sign([server.keys["root"], keys["root"]]))
    server.keys = keys
    server.versions["v2"].envelope = server.versions["v2"].manifest.sign([keys["publisher"]])
    assert agent.update().status == "updated"
    assert Agent(agent._store.directory, settings()).status()["trust_version"] == 2


def test_new_keys_signed_only_by_themselves_are_rejected(server, agent):
    keys = server.keys | {"director": Key(), "root": Key()}
    server.trust_chain.append(server.trust_bundle(2, keys).sign([keys["root"]]))
    server.keys = keys
    result = agent.update()
    assert (result.status, result.code) == ("failed", "unknown_key")
    assert agent.status()["trust_version"] == 1


@pytest.mark.parametrize("body", [[], {}, {"directive": 1}, {"reason": "update"}, "text"])
def test_an_invalid_response_is_an_error_with_a_code(server, agent, body):
    server.poll_responses.append((200, body, {}))
    assert agent.update().code == "unreachable"


NOW = datetime(2030, 6, 15, tzinfo=UTC)


def at(**delta):
    return format_timestamp(NOW + timedelta(**delta))


@pytest.mark.parametrize(
    ("issued", "newest", "expected"),
    [
        (at(), "", NOW),
        (at(minutes=-5), "", NOW),
        (at(minutes=5), "", NOW + timedelta(minutes=5)),
        (at(days=30), "", NOW + timedelta(days=30)),
        (at(days=-30), "", NOW - timedelta(days=30)),
        (at(days=-30), at(hours=-1), NOW),
    ],
    ids=[
        "clock and signature agree",
        "clock is ahead",
        "clock is behind",
        "clock is far behind and ignored",
        "clock is far ahead and ignored",
        "an old signature cannot turn back the time of a newer one",
    ],
)
def test_expiry_is_compared_with_the_trusted_time(issued, newest, expected):
    assert trusted_time(issued, newest, NOW) == expected


def test_a_server_with_a_wrong_clock_does_not_stop_later_updates(server, agent):
    ahead = {"issued": timestamp_in(days=400), "expires": timestamp_in(days=401)}
    server.alter_directive = lambda fields: fields | ahead
    assert agent.update().code == "expired"
    server.alter_directive = lambda fields: fields
    assert agent.update().status == "updated"


def test_a_device_without_a_clock_is_updated(server, agent):
    class Stopped(StaticHost):
        def now(self):
            return datetime(1970, 1, 1, tzinfo=UTC)

    assert Agent(agent._store.directory, settings(host=Stopped())).update().status == "updated"


def test_no_mutation_of_a_response_makes_the_device_accept_another_update(server, agent):
    server.patch(BASE, NEXT)
    request = PollRequest(
        device_id="device",
        current_version="v1",
        components={"backbone": sha256_hex(BASE)},
        nonce="N" * 32,
        accepts=["glp1", "full"],
    )
    body = request.model_dump_json(exclude_none=True).encode()
    question = PollContext(body, "device", "demo", "N" * 32, 0.1)
    text = json.dumps(server.response(body)).encode()
    trust, state, now = agent._trust.bundle, agent._store.read_state(), datetime.now(UTC)
    good = verify_poll_response(PollResponse.model_validate_json(text), question, trust, state, now)
    assert [option.offer.format for option in good.options["backbone"]] == ["glp1", "full"]
    rng = random.Random(17)
    accepted = 0
    for _ in range(20_000 if TORTURE else 2500):
        mutant = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(mutant))
            mutant[position : position + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        try:
            response = PollResponse.model_validate_json(bytes(mutant))
        except ValueError:
            continue
        try:
            update = verify_poll_response(response, question, trust, state, now)
        except ContractError:
            continue
        accepted += 1
        assert (update.directive, update.release, update.floor) == (good.directive, good.release, good.floor)
        proved = [option.descriptor for option in good.options["backbone"]]
        assert all(option.descriptor in proved for option in update.options["backbone"])
    assert accepted > 0
