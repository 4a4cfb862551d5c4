from service.domain.catalogue import Line
from service.domain.decisions import Facts
from service.domain.offers import decide
from tests.service.domain.lines import WHEN, digest, variant, version

V1 = version(1, variant({"backbone": "b1", "vision": "v1", "audio": "a1"}))
LINE = Line("phone", killed=False, versions={"v1": V1}, rollouts=())


def facts(modules, **held):
    components = {name: digest(word) for name, word in held.items()}
    return Facts("d1", {}, "v1", components, frozenset(modules) if modules is not None else None, ("full",))


def test_a_module_that_is_wanted_and_not_held_comes_from_the_version_that_runs():
    decision = decide(LINE, facts({"backbone", "vision"}, backbone="b1"), WHEN)
    assert (decision.action, decision.version, decision.rollout) == ("install", V1, None)
    assert {item.component.name: item.keep for item in decision.deliveries} == {
        "backbone": True,
        "vision": False,
    }


def test_a_device_that_holds_what_it_wants_gets_nothing():
    decision = decide(LINE, facts({"backbone"}, backbone="b1", vision="v1"), WHEN)
    assert decision.reason == "no_rollout"


def test_a_device_that_names_no_modules_is_left_alone():
    assert not decide(LINE, facts(None, backbone="b1"), WHEN).offered


def test_a_device_that_does_not_say_what_it_holds_is_taken_at_its_version():
    assert not decide(LINE, facts({"backbone", "vision"}), WHEN).offered
