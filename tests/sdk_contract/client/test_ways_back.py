"""What a device says of where it has been, and going back there without a byte."""

import shutil

import pytest

from tests.sdk_contract.client.conftest import settings, tuned, weights

V1 = {"backbone": weights(1), "tokenizer": weights(2, 4000)}
V2 = {"backbone": tuned(V1["backbone"]), "tokenizer": V1["tokenizer"]}
V3 = {"backbone": tuned(V2["backbone"], 3), "tokenizer": V1["tokenizer"]}


@pytest.fixture
def three(server):
    """A server with three versions."""
    for counter, files in enumerate((V1, V2, V3), 1):
        server.publish(f"v{counter}", counter, files)
    return server


def go(server, agent, label, action="install"):
    """One update that must end with `label`."""
    server.target, server.action, server.attempt = label, action, f"to-{label}-{len(server.polls)}"
    outcome = agent.update()
    assert outcome.version == label, outcome
    return outcome


def asked(server, name):
    """What the last poll said."""
    return getattr(server.polls[-1], name)


def test_a_device_says_what_shipped_and_what_ran_before(three, enrol):
    agent = enrol("v1")
    go(three, agent, "v2")
    assert (asked(three, "factory_version"), asked(three, "previous_version")) == ("v1", None)
    go(three, agent, "v3")
    agent.update()
    assert (asked(three, "factory_version"), asked(three, "previous_version")) == ("v1", "v2")
    assert asked(three, "features") == ["hold"]


def test_a_device_that_shipped_with_nothing_says_nothing(three, enrol):
    agent = enrol()
    go(three, agent, "v2")
    agent.update()
    assert (asked(three, "factory_version"), asked(three, "previous_version")) == (None, None)


def test_the_version_before_is_there_without_a_byte(three, enrol):
    agent = enrol()
    go(three, agent, "v2")
    go(three, agent, "v3")
    back = go(three, agent, "v2", "rollback")
    assert (back.status, back.reason, back.bytes_downloaded) == ("updated", "rollback", 0)


def test_what_shipped_is_there_without_a_byte_long_after_it_left_the_store(three, enrol):
    agent = enrol("v1")
    go(three, agent, "v2")
    go(three, agent, "v3")
    back = go(three, agent, "v1", "rollback")
    assert (back.reason, back.bytes_downloaded) == ("rollback", 0)
    assert agent.installed().components["backbone"].read_bytes() == V1["backbone"]


@pytest.mark.parametrize("harm", ["gone", "another app", "half"])
def test_what_shipped_is_downloaded_where_the_app_no_longer_has_it(three, enrol, tmp_path, harm):
    agent = enrol("v1")
    go(three, agent, "v2")
    go(three, agent, "v3")
    file = tmp_path / "factory-device" / "backbone.bin"
    if harm == "gone":
        shutil.rmtree(file.parent)
    else:
        file.write_bytes(V3["backbone"] if harm == "another app" else V1["backbone"][:1000])
    back = go(three, agent, "v1", "rollback")
    assert back.bytes_downloaded == len(V1["backbone"])
    assert agent.installed().components["backbone"].read_bytes() == V1["backbone"]


def test_a_device_that_changes_files_in_place_does_not_say_that_it_can_wait(three, enrol):
    low = settings()
    agent = enrol(
        "v1", settings=type(low)(low.files, low.host, low.limits, low.pause, low.trial, low_storage=True)
    )
    go(three, agent, "v2")
    assert asked(three, "features") == []


def test_what_waits_for_the_word_is_found_again_by_the_next_start(three, enrol):
    agent = enrol("v1")
    three.target, three.directive_ext = "v2", {"activation": "hold"}
    first = agent.update()
    assert (first.status, first.reason, first.version) == ("waiting", "awaits_activation", "v1")
    assert first.ok
    assert agent.status()["attempt"]["held"] is True
    again = agent.update()
    assert (again.reason, again.bytes_downloaded) == ("awaits_activation", 0)
    assert asked(three, "staged_version") == "v2"
    three.directive_ext = {}
    assert agent.update().version == "v2"


def test_an_order_that_changes_its_mind_while_bytes_come_is_obeyed(three, enrol):
    agent = enrol("v1")
    three.target = "v2"
    three.directive_ext = {"activation": "hold"}
    agent.update()
    three.target, three.attempt, three.directive_ext = "v3", "another", {"activation": "hold"}
    assert agent.update().reason == "awaits_activation"
    assert agent.status()["attempt"]["release"]["version"] == "v3"
    three.directive_ext = {}
    assert agent.update().version == "v3"
