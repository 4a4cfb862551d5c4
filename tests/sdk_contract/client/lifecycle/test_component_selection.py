import pytest

from sdk_contract.client import Agent
from sdk_contract.errors import MixedVersions
from tests.sdk_contract.client.conftest import content, fine_tuned, settings, weights
from tests.sdk_contract.client.documents import sha256_hex

OLD = {"backbone": weights(1, 60_000), "vision": weights(2, 30_000), "audio": weights(3, 20_000)}
NEW = {name: fine_tuned(data) for name, data in OLD.items()}


@pytest.fixture
def agent(server, enroll):
    server.publish("v1", 1, OLD)
    server.publish("v2", 2, NEW)
    return enroll("v1", wanted_components=["backbone", "vision"])


def pick(files, *names):
    return {name: files[name] for name in names}


def test_a_device_has_only_its_wanted_components(server, agent):
    assert content(agent) == pick(OLD, "backbone", "vision")
    server.target = "v2"
    agent.update()
    assert content(agent) == pick(NEW, "backbone", "vision")
    assert sha256_hex(NEW["audio"]) not in {digest for digest, *_ in server.downloads}


def test_a_removed_component_is_deleted_from_the_disk_at_once(agent):
    agent.set_wanted_components(["backbone"])
    assert content(agent) == pick(OLD, "backbone")
    assert [path.name for path in agent._store.objects.iterdir()] == [sha256_hex(OLD["backbone"])]
    assert [path.name for path in agent.installed().components["backbone"].parent.iterdir()] == [
        "backbone.bin"
    ]


def test_an_added_component_comes_with_the_next_update_of_the_current_version(server, agent):
    server.target = "v1"
    agent.set_wanted_components(["backbone", "vision", "audio"])
    assert content(agent) == pick(OLD, "backbone", "vision")
    result = agent.update()
    assert (result.status, result.version) == ("updated", "v1")
    assert result.bytes_downloaded == len(OLD["audio"])
    assert content(agent) == OLD


def test_a_component_added_before_a_new_version_comes_with_that_version(server, agent):
    server.target = "v2"
    agent.set_wanted_components(None)
    agent.update()
    assert content(agent) == NEW


def test_the_selection_survives_a_restart(server, agent):
    agent.set_wanted_components(["vision"])
    server.target = "v2"
    again = Agent(agent._store.directory, settings())
    again.update()
    assert content(again) == pick(NEW, "vision")


def test_an_unknown_component_is_rejected_and_nothing_changes(agent):
    with pytest.raises(MixedVersions, match="mixed_versions: the current version has no component smell"):
        agent.set_wanted_components(["backbone", "smell"])
    assert content(agent) == pick(OLD, "backbone", "vision")
