import pytest

from sdk_contract.client import Agent
from sdk_contract.errors import MixedVersions
from tests.sdk_contract.client.conftest import content, settings, tuned, weights
from tests.sdk_contract.client.simulator import sha

OLD = {"backbone": weights(1, 60_000), "vision": weights(2, 30_000), "audio": weights(3, 20_000)}
NEW = {name: tuned(data) for name, data in OLD.items()}


@pytest.fixture
def agent(server, enrol):
    server.publish("v1", 1, OLD)
    server.publish("v2", 2, NEW)
    return enrol("v1", modules=["backbone", "vision"])


def pick(files, *names):
    return {name: files[name] for name in names}


def test_a_device_holds_only_the_modules_that_it_wants(server, agent):
    assert content(agent) == pick(OLD, "backbone", "vision")
    server.target = "v2"
    agent.update()
    assert content(agent) == pick(NEW, "backbone", "vision")
    assert sha(NEW["audio"]) not in {digest for digest, *_ in server.downloads}


def test_a_dropped_module_is_gone_from_the_disk_at_once(agent):
    agent.want_modules(["backbone"])
    assert content(agent) == pick(OLD, "backbone")
    assert [path.name for path in agent._store.objects.iterdir()] == [sha(OLD["backbone"])]
    assert [path.name for path in agent.installed().components["backbone"].parent.iterdir()] == [
        "backbone.bin"
    ]


def test_an_added_module_comes_with_the_next_update_of_the_version_that_runs(server, agent):
    server.target = "v1"
    agent.want_modules(["backbone", "vision", "audio"])
    assert content(agent) == pick(OLD, "backbone", "vision")
    outcome = agent.update()
    assert (outcome.status, outcome.version) == ("updated", "v1")
    assert outcome.bytes_downloaded == len(OLD["audio"])
    assert content(agent) == OLD


def test_a_module_added_while_a_new_version_is_out_comes_with_all_others_of_it(server, agent):
    server.target = "v2"
    agent.want_modules(None)
    agent.update()
    assert content(agent) == NEW


def test_the_choice_survives_a_restart(server, agent):
    agent.want_modules(["vision"])
    server.target = "v2"
    again = Agent(agent._store.directory, settings())
    again.update()
    assert content(again) == pick(NEW, "vision")


def test_a_module_that_the_version_does_not_have_is_refused_and_nothing_changes(agent):
    with pytest.raises(MixedVersions):
        agent.want_modules(["backbone", "smell"])
    assert content(agent) == pick(OLD, "backbone", "vision")
