from datetime import timedelta

import pytest

from service.domain.polling.deliveries import choose_variant
from tests.service.domain.builders import (
    NOW,
    WAITING_SINCE,
    device_context,
    digest,
    patch,
    rollout,
    variant,
    version,
)
from tests.service.domain.polling.three_versions import V2, V3, decision_for, model_with

PATCHES = ("glp1", "bsdiff40", "full")


# --- variants -------------------------------------------------------------------------------------


def test_the_variant_of_highest_priority_that_matches_wins():
    small = variant({"w": "int4"}, name="int4", priority=0)
    big = variant({"w": "int8"}, name="int8", rule={"attr": "ram_mb", "gte": 8192}, priority=10)
    both = version(2, small, big)
    assert choose_variant(both, device_context(attributes={"ram_mb": 12288})) == big
    assert choose_variant(both, device_context(attributes={"ram_mb": 4096})) == small
    assert choose_variant(both, device_context()) == small


# --- deliveries ---------------------------------------------------------------------------


def deliveries(model, device):
    return {delivery.component.name: delivery for delivery in decision_for(model, device).deliveries}


def test_a_patch_from_the_running_version_is_preferred():
    delivery = deliveries(
        model_with(rollout(V2), patches=[patch("w1", "w2")]), device_context(accepts=PATCHES)
    )["weights"]
    assert [item.format for item in delivery.patches] == ["glp1"]
    assert delivery.bytes == 100


def test_a_device_that_accepts_full_files_only_gets_no_patch():
    delivery = deliveries(model_with(rollout(V2), patches=[patch("w1", "w2")]), device_context())["weights"]
    assert delivery.patches == ()
    assert delivery.bytes == 1000


@pytest.mark.parametrize("order", [("glp1", "bsdiff40", "full"), ("bsdiff40", "glp1", "full")])
def test_patches_are_in_the_order_that_the_device_prefers(order):
    patches = [patch("w1", "w2", kind="glp1"), patch("w1", "w2", kind="bsdiff40")]
    delivery = deliveries(model_with(rollout(V2), patches=patches), device_context(accepts=order))["weights"]
    assert [item.format for item in delivery.patches] == list(order[:2])


def test_files_on_disk_take_precedence_over_the_reported_version():
    model = model_with(rollout(V2), patches=[patch("w1", "w2"), patch("mine", "w2", size=7)])
    device = device_context(accepts=PATCHES, components={"weights": digest("mine")})
    assert deliveries(model, device)["weights"].bytes == 7


def test_a_device_with_an_unknown_version_gets_the_full_file():
    model = model_with(rollout(V2), patches=[patch("w1", "w2")])
    assert deliveries(model, device_context("custom", accepts=PATCHES))["weights"].patches == ()


TWO_PARTS = (
    version(1, variant({"backbone": "b1", "tokenizer": "t1"})),
    version(2, variant({"backbone": "b2", "tokenizer": "t1"})),
)


def test_an_unchanged_component_is_not_downloaded():
    found = deliveries(model_with(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device_context())
    assert found["tokenizer"].keep
    assert found["tokenizer"].bytes == 0
    assert not found["backbone"].keep


def test_a_file_under_another_name_is_not_downloaded():
    on_device = {"other": digest("b2"), "tokenizer": digest("t1")}
    found = deliveries(
        model_with(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device_context(components=on_device)
    )
    assert all(delivery.keep for delivery in found.values())


def test_a_device_gets_only_the_components_that_it_wants():
    device = device_context(wanted_components=frozenset({"tokenizer"}))
    assert set(deliveries(model_with(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device)) == {"tokenizer"}


# --- patches that are being built ------------------------------------------------------------------------


def test_a_device_waits_for_a_patch_that_is_being_built():
    model = model_with(rollout(V2), patches=[patch("w1", "w2", ready=False)])
    assert decision_for(model, device_context(accepts=PATCHES)).reason == "patch_building"


def test_the_wait_for_a_patch_ends():
    late = patch("w1", "w2", ready=False, since=WAITING_SINCE - timedelta(seconds=1))
    decision = decision_for(model_with(rollout(V2), patches=[late]), device_context(accepts=PATCHES))
    assert decision.offered
    assert decision.deliveries[0].patches == ()


def test_a_device_does_not_wait_for_a_patch_that_it_cannot_apply():
    model = model_with(rollout(V2), patches=[patch("w1", "w2", ready=False)])
    assert decision_for(model, device_context()).offered
    assert decision_for(model, device_context(accepts=("bsdiff40", "full"))).offered


def test_a_device_with_a_ready_patch_does_not_wait_for_another():
    patches = [patch("w1", "w2", kind="bsdiff40"), patch("w1", "w2", ready=False)]
    decision = decision_for(model_with(rollout(V2), patches=patches), device_context(accepts=PATCHES))
    assert [item.format for item in decision.deliveries[0].patches] == ["bsdiff40"]


def test_a_device_does_not_wait_for_a_patch_from_another_file():
    model = model_with(rollout(V2), patches=[patch("w0", "w2", ready=False)])
    assert decision_for(model, device_context(accepts=PATCHES)).offered


def test_a_device_that_waits_for_a_patch_is_not_offered_an_older_version():
    model = model_with(rollout(V3), rollout(V2), patches=[patch("w1", "w3", ready=False, since=NOW)])
    assert decision_for(model, device_context(accepts=PATCHES)).reason == "patch_building"
