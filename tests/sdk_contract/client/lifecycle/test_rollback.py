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


def test_a_device_reports_its_factory_and_previous_versions(three, enroll):
    agent = enroll("v1")
    go(three, agent, "v2")
    assert (asked(three, "factory_version"), asked(three, "previous_version")) == ("v1", None)
    go(three, agent, "v3")
    agent.update()
    assert (asked(three, "factory_version"), asked(three, "previous_version")) == ("v1", "v2")
    assert asked(three, "features") == ["deferred_activation"]


def test_a_device_without_a_factory_version_reports_none(three, enroll):
    agent = enroll()
    go(three, agent, "v2")
    agent.update()
    assert (asked(three, "factory_version"), asked(three, "previous_version")) == (None, None)


def test_a_rollback_to_the_previous_version_needs_no_download(three, enroll):
    agent = enroll()
    go(three, agent, "v2")
    go(three, agent, "v3")
    back = go(three, agent, "v2", "rollback")
    assert (back.status, back.reason, back.bytes_downloaded) == ("updated", "rollback", 0)


def test_a_rollback_to_the_factory_version_needs_no_download(three, enroll):
    agent = enroll("v1")
    go(three, agent, "v2")
    go(three, agent, "v3")
    back = go(three, agent, "v1", "rollback")
    assert (back.reason, back.bytes_downloaded) == ("rollback", 0)
    assert agent.installed().components["backbone"].read_bytes() == V1["backbone"]


@pytest.mark.parametrize("harm", ["gone", "another app", "half"])
def test_the_factory_version_is_downloaded_if_the_app_no_longer_has_it(three, enroll, tmp_path, harm):
    agent = enroll("v1")
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


def test_a_low_storage_device_does_not_announce_deferred_activation(three, enroll):
    low = settings()
    agent = enroll(
        "v1",
        settings=type(low)(
            low.file_system, low.host, low.download_limits, low.sleep, low.trial, low_storage=True
        ),
    )
    go(three, agent, "v2")
    assert asked(three, "features") == []


def test_a_deferred_version_survives_a_restart_and_is_activated_later(three, enroll):
    agent = enroll("v1")
    three.target, three.directive_ext = "v2", {"activation": "deferred"}
    first = agent.update()
    assert (first.status, first.reason, first.version) == ("waiting", "awaiting_activation", "v1")
    assert first.ok
    assert agent.status()["attempt"]["activation_deferred"] is True
    again = agent.update()
    assert (again.reason, again.bytes_downloaded) == ("awaiting_activation", 0)
    assert asked(three, "staged_version") == "v2"
    three.directive_ext = {}
    assert agent.update().version == "v2"


def test_a_newer_version_replaces_a_deferred_one(three, enroll):
    agent = enroll("v1")
    three.target = "v2"
    three.directive_ext = {"activation": "deferred"}
    agent.update()
    three.target, three.attempt, three.directive_ext = "v3", "another", {"activation": "deferred"}
    assert agent.update().reason == "awaiting_activation"
    assert agent.status()["attempt"]["release"]["version"] == "v3"
    three.directive_ext = {}
    assert agent.update().version == "v3"
