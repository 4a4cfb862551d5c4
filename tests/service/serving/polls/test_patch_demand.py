import asyncio
from dataclasses import replace
from datetime import timedelta

from service.domain.polling.decisions import DecisionTime
from service.domain.polling.offers import decide
from service.infrastructure import database
from service.serving.polls.patch_demand import PatchDemand
from tests.service.domain.builders import (
    NOW,
    WAITING_SINCE,
    device_context,
    digest,
    model_view,
    patch,
    rollout,
    variant,
    version,
)

WAIT = timedelta(minutes=10)
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


def large(counter, **more):
    return version(counter, variant({"weights": f"w{counter}"}, sizes={"weights": 2**20}), **more)


def model_with(*patches, base=None, **more):
    old, new = base or large(1), large(2)
    model = model_view([old, new], [rollout(new)], patches)
    return replace(model, **({"blobs": frozenset({digest("w1"), digest("w2")})} | more))


def make_demand(**more):
    return PatchDemand(database.async_engine_for(NOWHERE), **({"wait": WAIT} | more))


def apply(demand, model, device, after=timedelta()):
    decision = decide(model, device, DecisionTime(NOW, WAITING_SINCE))
    return demand.apply(model, device, decision, NOW + after)


DEVICE = device_context(accepts=("glp1", "full"))
PAIR = (digest("w1"), digest("w2"))


def test_devices_wait_for_a_limited_time_after_the_first_poll_that_lacked_the_patch():
    demand, model = make_demand(), model_with()
    first = apply(demand, model, DEVICE)
    assert (first.reason, first.offered, first.deliveries) == ("patch_building", False, ())
    assert apply(demand, model, DEVICE, WAIT - timedelta(seconds=1)).reason == "patch_building"
    assert apply(demand, model, DEVICE, WAIT).offered
    assert demand._unwritten == {PAIR: 3}


def test_peek_returns_what_the_next_poll_gets_and_requests_nothing():
    demand, model = make_demand(max_pairs=1), model_with()
    decision = decide(model, DEVICE, DecisionTime(NOW, WAITING_SINCE))
    for after in (timedelta(), WAIT - timedelta(seconds=1), WAIT):
        peeked = demand.peek(model, DEVICE, decision, NOW + after)
        if after:
            assert peeked == apply(demand, model, DEVICE, after)
        else:
            assert (peeked.reason, demand._unwritten) == ("patch_building", {})
            apply(demand, model, DEVICE)
    assert make_demand(max_pairs=0).peek(model, DEVICE, decision, NOW).offered
    assert make_demand(wait=timedelta()).peek(model, DEVICE, decision, NOW).offered


def test_no_device_waits_for_a_patch_that_exists_or_will_never_exist():
    assert apply(make_demand(), model_with(patch("w1", "w2")), DEVICE).offered
    assert apply(make_demand(), model_with(not_worth_building=frozenset({PAIR})), DEVICE).offered
    assert apply(make_demand(), model_with(blobs=frozenset()), DEVICE).offered
    assert apply(make_demand(wait=timedelta()), model_with(), DEVICE).offered
    assert apply(make_demand(), model_with(), device_context(accepts=("full",))).offered


def test_no_device_waits_for_a_patch_to_a_small_file():
    small = model_with(base=version(1))
    shrunk = replace(small, versions={"v1": version(1), "v2": version(2)}, rollouts=(rollout(version(2)),))
    demand = make_demand()
    assert apply(demand, shrunk, DEVICE).offered
    assert not demand._unwritten


def test_a_device_on_a_revoked_version_requests_a_patch_but_does_not_wait():
    demand = make_demand()
    assert apply(demand, model_with(base=large(1, revoked=True)), DEVICE).offered
    assert demand._unwritten == {PAIR: 1}


def test_the_number_of_pairs_is_bounded():
    demand = make_demand(max_pairs=0)
    assert apply(demand, model_with(), DEVICE).offered
    assert not demand._unwritten


def test_patch_requests_are_kept_while_the_database_is_down():
    demand = make_demand()
    apply(demand, model_with(), DEVICE)
    asyncio.run(demand.flush())
    assert demand._unwritten == {PAIR: 1}
