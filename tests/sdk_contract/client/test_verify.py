"""A server, or someone in its place, that tries each attack; nothing is installed and the rule is named."""

import base64
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.host import PlainHost
from sdk_contract.client.verify import check_answer
from sdk_contract.documents import timestamp
from sdk_contract.errors import ContractError
from sdk_contract.rules import Question, trusted_time
from sdk_contract.wire import PollAnswer, PollRequest
from tests.sdk_contract.client.conftest import LONG, content, settings, tuned, weights
from tests.sdk_contract.client.simulator import Key, later, sha

BASE = weights(1, 60_000)
NEXT = tuned(BASE)


@pytest.fixture
def agent(server, enrol):
    server.publish("v1", 1, {"backbone": BASE})
    server.publish("v2", 2, {"backbone": NEXT})
    agent = enrol("v1")
    server.target = "v2"
    return agent


def refused(server, agent):
    """The code of the refusal; the old version runs, untouched, and the server was told."""
    outcome = agent.update()
    assert outcome.status == "failed", outcome
    assert content(agent) == {"backbone": BASE}
    assert server.events[-1].state == "rejected"
    assert server.events[-1].code == outcome.code
    return outcome.code


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
def test_a_directive_that_is_not_for_this_poll_is_refused(server, agent, field, value, code):
    server.alter_directive = lambda fields: fields | {field: value}
    assert refused(server, agent) == code


def test_a_directive_needs_the_director(server, agent):
    server.keys["director"] = Key()
    assert refused(server, agent) == "unknown_key"


def test_a_directive_signed_by_the_publisher_is_refused(server, agent):
    server.keys["director"] = server.keys["publisher"]
    assert refused(server, agent) == "unknown_key"


def test_a_manifest_needs_the_publisher(server, agent):
    version = server.versions["v2"]
    version.envelope = version.manifest.seal([server.keys["director"]])
    assert refused(server, agent) == "unknown_key"


def test_a_flipped_bit_in_the_directive_is_refused(server, agent):
    def alter(answer):
        payload = bytearray(base64.b64decode(answer["directive"]["payload"]))
        payload[10] ^= 1
        answer["directive"]["payload"] = base64.b64encode(payload).decode()
        return answer

    server.alter = alter
    assert refused(server, agent) == "signature_invalid"


def test_a_replayed_answer_is_refused(server, agent):
    first = []
    server.alter = lambda answer: first.append(answer) or answer
    server.target = None
    agent.update()
    server.alter = lambda _: first[0]
    server.target = "v2"
    assert refused(server, agent) == "wrong_nonce"


def test_an_older_version_is_refused_unless_the_directive_says_rollback(server, agent):
    assert agent.update().status == "updated"
    server.target, server.attempt = "v1", "attempt-2"
    outcome = agent.update()
    assert (outcome.status, outcome.code) == ("failed", "rollback")
    assert content(agent) == {"backbone": NEXT}


def test_not_even_a_rollback_goes_below_the_floor(server, agent):
    server.publish("v3", 3, {"backbone": weights(8, 60_000)}, floor=2)
    server.target = "v3"
    assert agent.update().status == "updated"
    server.target, server.action, server.attempt = "v1", "rollback", "attempt-2"
    assert agent.update().code == "rollback"
    server.target, server.attempt = "v2", "attempt-3"
    assert agent.update().version == "v2"


def test_an_expired_manifest_starts_no_install_and_the_running_model_stays(server, agent):
    server.publish("v2", 2, {"backbone": NEXT}, expires=later(days=-1))
    assert refused(server, agent) == "expired"


def test_a_manifest_of_another_model_is_refused(server, agent):
    version = server.versions["v2"]
    version.manifest = replace(version.manifest, model="other")
    version.envelope = version.manifest.seal([server.keys["publisher"]])
    assert refused(server, agent) == "wrong_model"


def test_the_plain_fields_cannot_start_an_update(server, agent):
    server.target = None
    server.alter = lambda answer: answer | {"need_update": True, "target_version": "v2", "action": "install"}
    assert agent.update().status == "none"
    assert content(agent) == {"backbone": BASE}


def test_a_patch_that_leads_elsewhere_is_skipped_for_the_whole_file(server, agent):
    server.patch(BASE, NEXT)
    foreign = server.patch(BASE, weights(1, 60_000)[::-1][:1] + BASE[1:])
    key = next(key for key in server.descriptors if key[1] != sha(NEXT))
    server.descriptors[sha(BASE), sha(NEXT)] = server.descriptors[key]
    outcome = agent.update()
    assert (outcome.status, outcome.way) == ("updated", "full")
    assert content(agent) == {"backbone": NEXT}
    assert sha(foreign) not in {digest for digest, *_ in server.downloads}


def test_a_patch_descriptor_needs_the_patcher(server, agent):
    server.patch(BASE, NEXT)
    envelope = json.loads(server.descriptors[sha(BASE), sha(NEXT)])
    payload = base64.b64decode(envelope["payload"])
    envelope["signatures"][0]["sig"] = base64.b64encode(server.keys["director"].sign(payload)).decode()
    server.descriptors[sha(BASE), sha(NEXT)] = json.dumps(envelope).encode()
    assert agent.update().way == "full"


def test_an_offer_without_any_way_to_a_component_fails_by_name(server, agent):
    server.alter = lambda answer: answer | {"downloads": []}
    outcome = agent.update()
    assert (outcome.status, outcome.code) == ("failed", "mixed_versions")
    assert content(agent) == {"backbone": BASE}


def test_new_keys_are_believed_when_the_old_roots_have_signed_them(server, agent):
    keys = server.keys | {"director": Key(), "root": Key()}
    bundle = server.trust_bundle(2, keys)
    server.trust_chain.append(bundle.seal([server.keys["root"], keys["root"]]))
    server.keys = keys
    server.versions["v2"].envelope = server.versions["v2"].manifest.seal([keys["publisher"]])
    assert agent.update().status == "updated"
    assert Agent(agent._store.directory, settings()).status()["trust_version"] == 2


def test_new_keys_that_only_vouch_for_themselves_are_refused(server, agent):
    keys = server.keys | {"director": Key(), "root": Key()}
    server.trust_chain.append(server.trust_bundle(2, keys).seal([keys["root"]]))
    server.keys = keys
    outcome = agent.update()
    assert (outcome.status, outcome.code) == ("failed", "unknown_key")
    assert agent.status()["trust_version"] == 1


@pytest.mark.parametrize("body", [[], {}, {"directive": 1}, {"reason": "update"}, "text"])
def test_an_answer_that_is_none_is_an_error_with_a_name(server, agent, body):
    server.poll_answers.append((200, body, {}))
    assert agent.update().code == "unreachable"


NOW = datetime(2030, 6, 15, tzinfo=UTC)


def at(**delta):
    return timestamp(NOW + timedelta(**delta))


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
        "clock is far behind and not asked",
        "clock is far ahead and not asked",
        "an old signature cannot turn back what a newer one proved",
    ],
)
def test_the_time_that_expiry_is_compared_with(issued, newest, expected):
    assert trusted_time(issued, newest, NOW) == expected


def test_one_server_with_a_wrong_clock_does_not_stop_updates_for_ever(server, agent):
    ahead = {"issued": later(days=400), "expires": later(days=401)}
    server.alter_directive = lambda fields: fields | ahead
    assert agent.update().code == "expired"
    server.alter_directive = lambda fields: fields
    assert agent.update().status == "updated"


def test_a_device_without_a_clock_is_updated_all_the_same(server, agent):
    class Stopped(PlainHost):
        def now(self):
            return datetime(1970, 1, 1, tzinfo=UTC)

    assert Agent(agent._store.directory, settings(host=Stopped())).update().status == "updated"


def test_no_change_to_an_answer_makes_the_device_accept_another_order(server, agent):
    server.patch(BASE, NEXT)
    body = PollRequest(
        device_id="device",
        current_version="v1",
        components={"backbone": sha(BASE)},
        nonce="N" * 32,
        accepts=["glp1", "full"],
    )
    body = body.model_dump_json(exclude_none=True).encode()
    question = Question(body, "device", "demo", "N" * 32, 0.1)
    text = json.dumps(server.answer(body)).encode()
    trust, record, now = agent._trust.bundle, agent._store.read(), datetime.now(UTC)
    good = check_answer(PollAnswer.model_validate_json(text), question, trust, record, now)
    assert [route.way.format for route in good.routes["backbone"]] == ["glp1", "full"]
    dice = random.Random(17)
    accepted = 0
    for _ in range(20_000 if LONG else 2500):
        mutant = bytearray(text)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(mutant))
            mutant[place : place + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 2))
        try:
            answer = PollAnswer.model_validate_json(bytes(mutant))
        except ValueError:
            continue
        try:
            order = check_answer(answer, question, trust, record, now)
        except ContractError:
            continue
        accepted += 1
        assert (order.directive, order.release, order.floor) == (good.directive, good.release, good.floor)
        proved = [route.descriptor for route in good.routes["backbone"]]
        assert all(route.descriptor in proved for route in order.routes["backbone"])
    assert accepted > 0
