import asyncio
from dataclasses import replace
from datetime import timedelta

from service import database
from service.domain.decisions import When
from service.domain.offers import decide
from service.serving.patch_demand import PatchDemand
from tests.service.domain.lines import (
    NOW,
    WAITING_SINCE,
    digest,
    facts,
    line,
    patch,
    rollout,
    variant,
    version,
)

WAIT = timedelta(minutes=10)
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


def large(counter, **more):
    return version(counter, variant({"weights": f"w{counter}"}, sizes={"weights": 2**20}), **more)


def world(*patches, base=None, **more):
    old, new = base or large(1), large(2)
    made = line([old, new], [rollout(new)], patches)
    return replace(made, **({"blobs": frozenset({digest("w1"), digest("w2")})} | more))


def demand(**more):
    return PatchDemand(database.async_engine_for(NOWHERE), **({"wait": WAIT} | more))


def considered(asked, seen, device, after=timedelta()):
    decision = decide(seen, device, When(NOW, WAITING_SINCE))
    return asked.considered(seen, device, decision, NOW + after)


DEVICE = facts(accepts=("glp1", "full"))
PAIR = (digest("w1"), digest("w2"))


def test_devices_wait_from_the_first_poll_that_missed_the_patch_and_no_longer():
    asked, seen = demand(), world()
    first = considered(asked, seen, DEVICE)
    assert (first.reason, first.offered, first.deliveries) == ("patch_building", False, ())
    assert considered(asked, seen, DEVICE, WAIT - timedelta(seconds=1)).reason == "patch_building"
    assert considered(asked, seen, DEVICE, WAIT).offered
    assert asked._news == {PAIR: 3}


def test_what_is_foreseen_is_what_the_next_poll_is_told_and_asks_for_nothing():
    asked, seen = demand(max_pairs=1), world()
    decision = decide(seen, DEVICE, When(NOW, WAITING_SINCE))
    for after in (timedelta(), WAIT - timedelta(seconds=1), WAIT):
        told = asked.foreseen(seen, DEVICE, decision, NOW + after)
        if after:
            assert told == considered(asked, seen, DEVICE, after)
        else:
            assert (told.reason, asked._news) == ("patch_building", {})
            considered(asked, seen, DEVICE)
    assert demand(max_pairs=0).foreseen(seen, DEVICE, decision, NOW).offered
    assert demand(wait=timedelta()).foreseen(seen, DEVICE, decision, NOW).offered


def test_nobody_waits_for_what_there_is_or_what_will_never_be():
    assert considered(demand(), world(patch("w1", "w2")), DEVICE).offered
    assert considered(demand(), world(hopeless=frozenset({PAIR})), DEVICE).offered
    assert considered(demand(), world(blobs=frozenset()), DEVICE).offered
    assert considered(demand(wait=timedelta()), world(), DEVICE).offered
    assert considered(demand(), world(), facts(accepts=("full",))).offered


def test_a_small_file_is_not_worth_a_wait():
    small = world(base=version(1))
    shrunk = replace(small, versions={"v1": version(1), "v2": version(2)}, rollouts=(rollout(version(2)),))
    asked = demand()
    assert considered(asked, shrunk, DEVICE).offered
    assert not asked._news


def test_a_device_that_must_leave_a_revoked_version_asks_but_does_not_wait():
    asked = demand()
    assert considered(asked, world(base=large(1, revoked=True)), DEVICE).offered
    assert asked._news == {PAIR: 1}


def test_at_most_so_many_pairs_are_remembered():
    asked = demand(max_pairs=0)
    assert considered(asked, world(), DEVICE).offered
    assert not asked._news


def test_wishes_are_kept_while_the_database_is_away():
    asked = demand()
    considered(asked, world(), DEVICE)
    asyncio.run(asked.flush())
    assert asked._news == {PAIR: 1}
