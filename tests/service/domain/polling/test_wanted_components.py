from service.domain.catalog import ModelView
from service.domain.polling.decisions import DeviceContext
from service.domain.polling.offers import decide
from tests.service.domain.builders import DECISION_TIME, digest, variant, version

V1 = version(1, variant({"backbone": "b1", "vision": "v1", "audio": "a1"}))
MODEL = ModelView("phone", disabled=False, versions={"v1": V1}, rollouts=())


def device_context(wanted_components, **on_device):
    components = {name: digest(word) for name, word in on_device.items()}
    return DeviceContext(
        "d1",
        {},
        "v1",
        components,
        frozenset(wanted_components) if wanted_components is not None else None,
        ("full",),
    )


def test_a_missing_component_comes_from_the_running_version():
    decision = decide(MODEL, device_context({"backbone", "vision"}, backbone="b1"), DECISION_TIME)
    assert (decision.action, decision.version, decision.rollout) == ("install", V1, None)
    assert {item.component.name: item.keep for item in decision.deliveries} == {
        "backbone": True,
        "vision": False,
    }


def test_a_device_with_all_wanted_components_gets_nothing():
    decision = decide(MODEL, device_context({"backbone"}, backbone="b1", vision="v1"), DECISION_TIME)
    assert decision.reason == "no_rollout"


def test_a_device_that_wants_no_particular_components_gets_nothing():
    assert not decide(MODEL, device_context(None, backbone="b1"), DECISION_TIME).offered


def test_a_device_that_reports_no_files_is_assumed_complete():
    assert not decide(MODEL, device_context({"backbone", "vision"}), DECISION_TIME).offered
