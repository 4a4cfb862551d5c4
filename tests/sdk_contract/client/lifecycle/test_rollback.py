"""Versions that a device reports, rollbacks without a download, and deferred activation."""

import shutil

import pytest

from tests.sdk_contract.client.conftest import fine_tuned, settings, weights

V1 = {"backbone": weights(1), "tokenizer": weights(2, 4000)}
V2 = {"backbone": fine_tuned(V1["backbone"]), "tokenizer": V1["tokenizer"]}
V3 = {"backbone": fine_tuned(V2["backbone"], 3), "tokenizer": V1["tokenizer"]}


@pytest.fixture
def server_with_versions(server):
    """A server with three versions."""
    for counter, files in enumerate((V1, V2, V3), 1):
        server.publish(f"v{counter}", counter, files)
    return server


def update_to(server, agent, label, action="install"):
    """Run one update, and check that it ends with `label`."""
    server.target, server.action, server.attempt = label, action, f"to-{label}-{len(server.polls)}"
    result = agent.update()
    assert result.version == label, result
    return result


def last_poll(server, name):
    """A field of the last poll request."""
    return getattr(server.polls[-1], name)


def test_a_device_reports_its_factory_and_previous_versions(server_with_versions, enroll):
    agent = enroll("v1")
    update_to(server_with_versions, agent, "v2")
    assert (
        last_poll(server_with_versions, "factory_version"),
        last_poll(server_with_versions, "previous_version"),
    ) == ("v1", None)
    update_to(server_with_versions, agent, "v3")
    agent.update()
    assert (
        last_poll(server_with_versions, "factory_version"),
        last_poll(server_with_versions, "previous_version"),
    ) == ("v1", "v2")
    assert last_poll(server_with_versions, "features") == ["deferred_activation"]


def test_a_device_without_a_factory_version_reports_none(server_with_versions, enroll):
    agent = enroll()
    update_to(server_with_versions, agent, "v2")
    agent.update()
    assert (
        last_poll(server_with_versions, "factory_version"),
        last_poll(server_with_versions, "previous_version"),
    ) == (None, None)


def test_a_rollback_to_the_previous_version_needs_no_download(server_with_versions, enroll):
    agent = enroll()
    update_to(server_with_versions, agent, "v2")
    update_to(server_with_versions, agent, "v3")
    rollback = update_to(server_with_versions, agent, "v2", "rollback")
    assert (rollback.status, rollback.reason, rollback.bytes_downloaded) == ("updated", "rollback", 0)


def test_a_rollback_to_the_factory_version_needs_no_download(server_with_versions, enroll):
    agent = enroll("v1")
    update_to(server_with_versions, agent, "v2")
    update_to(server_with_versions, agent, "v3")
    rollback = update_to(server_with_versions, agent, "v1", "rollback")
    assert (rollback.reason, rollback.bytes_downloaded) == ("rollback", 0)
    assert agent.installed().components["backbone"].read_bytes() == V1["backbone"]


@pytest.mark.parametrize("damage", ["gone", "another app", "half"])
def test_the_factory_version_is_downloaded_if_the_app_no_longer_has_it(
    server_with_versions, enroll, tmp_path, damage
):
    agent = enroll("v1")
    update_to(server_with_versions, agent, "v2")
    update_to(server_with_versions, agent, "v3")
    file = tmp_path / "factory-device" / "backbone.bin"
    if damage == "gone":
        shutil.rmtree(file.parent)
    else:
        file.write_bytes(V3["backbone"] if damage == "another app" else V1["backbone"][:1000])
    rollback = update_to(server_with_versions, agent, "v1", "rollback")
    assert rollback.bytes_downloaded == len(V1["backbone"])
    assert agent.installed().components["backbone"].read_bytes() == V1["backbone"]


def test_a_low_storage_device_does_not_announce_deferred_activation(server_with_versions, enroll):
    low = settings()
    agent = enroll(
        "v1",
        settings=type(low)(
            low.file_system, low.host, low.download_limits, low.sleep, low.trial, low_storage=True
        ),
    )
    update_to(server_with_versions, agent, "v2")
    assert last_poll(server_with_versions, "features") == []


def test_a_deferred_version_survives_a_restart_and_is_activated_later(server_with_versions, enroll):
    agent = enroll("v1")
    server_with_versions.target, server_with_versions.directive_ext = "v2", {"activation": "deferred"}
    first = agent.update()
    assert (first.status, first.reason, first.version) == ("waiting", "awaiting_activation", "v1")
    assert first.ok
    assert agent.status()["attempt"]["activation_deferred"] is True
    again = agent.update()
    assert (again.reason, again.bytes_downloaded) == ("awaiting_activation", 0)
    assert last_poll(server_with_versions, "staged_version") == "v2"
    server_with_versions.directive_ext = {}
    assert agent.update().version == "v2"


def test_a_newer_version_replaces_a_deferred_one(server_with_versions, enroll):
    agent = enroll("v1")
    server_with_versions.target = "v2"
    server_with_versions.directive_ext = {"activation": "deferred"}
    agent.update()
    server_with_versions.target, server_with_versions.attempt, server_with_versions.directive_ext = (
        "v3",
        "another",
        {"activation": "deferred"},
    )
    assert agent.update().reason == "awaiting_activation"
    assert agent.status()["attempt"]["release"]["version"] == "v3"
    server_with_versions.directive_ext = {}
    assert agent.update().version == "v3"
