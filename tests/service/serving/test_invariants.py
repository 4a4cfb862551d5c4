"""What holds for every rollout, whatever people, devices, four processes and the clock do, in whatever order.

The short form runs with all tests. The long form is `make invariants`: GRAYLAG_INVARIANTS operations.
"""

import os
import random
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tests.service.serving.gray_world import World

OPERATIONS = int(os.environ.get("GRAYLAG_INVARIANTS", "2000"))
LONG = 20_000
STEPS = 50
MAX_ROLLOUTS = 8
DICE = st.integers(0, 2**32 - 1).map(random.Random)
"""Hypothesis chooses the order of things, dice their details: a story told by its shrinker has hardly any people in it."""
EVERY_OTHER_HOUR = {
    "zone": "UTC",
    "daily": [{"start": f"{hour:02}:30", "end": f"{hour + 1:02}:30"} for hour in range(0, 24, 2)],
}
EVENINGS = {"zone": "device", "daily": [{"start": "18:00", "end": "06:00"}]}
REASONS = {
    *(
        "update",
        "up_to_date",
        "no_rollout",
        "not_in_cohort",
        "not_in_stage",
        "held_back",
        "outside_window",
        "paced",
    ),
    *("below_floor", "paused", "halted", "penalty", "killed", "rollback", "awaits_activation"),
}
"""What devices must have been told in a form of `LONG` operations or more."""
REPORTS = [
    "acknowledged",
    "downloading",
    "downloaded",
    "staged",
    "committed",
    "committed",
    "failed",
    "rolled_back",
]
VERBS = ["pause", "resume", "resume", "promote", "promote", "promote", "halt", "rollback", "cancel", "start"]
VERBS += ["activate", "activate"]


def some_versions(dice):
    return [
        (dice.randint(1, 1000), dice.randint(0, 3), dice.random() < 0.2) for _ in range(dice.randint(2, 5))
    ]


def some_stages(dice):
    if dice.random() < 0.5:
        return [(dice.choice(["everyone", "everyone", "everyone", "insiders"]), 100)]
    widths = sorted(dice.sample([0.5, 10, 25, 50, 75, 100], dice.randint(1, 3)))
    return [("insiders", 100)] * dice.randint(0, 1) + [("everyone", width) for width in widths]


def some_policy(dice):
    policy, pacing = {}, {}
    if dice.random() < 0.5:
        pacing["open_downloads"] = dice.randint(1, 12)
    if dice.random() < 0.5:
        pacing["bytes_per_hour"] = dice.randint(1000, 12_000)
    if pacing:
        policy["pacing"] = pacing
    if dice.random() < 0.3:
        policy["holdback_percent"] = dice.choice([5, 30])
    if dice.random() < 0.4:
        policy["windows"] = dice.choice([EVERY_OTHER_HOUR, EVENINGS])
    if dice.random() < 0.2:
        policy["activation"] = "together"
    return policy


class Rollouts(RuleBasedStateMachine):
    """People, devices, processes and the clock; the world is given by the test."""

    world: World

    @initialize(dice=DICE)
    def begin(self, dice):
        self.world.reset(some_versions(dice))
        self.names = []
        for device in self.world.devices:
            device.runs = dice.choice(["v1", "v1", None])
        for _ in range(2):
            self.begin_rollout(dice)
        self.all_hear()

    def begin_rollout(self, dice):
        if len(self.names) < MAX_ROLLOUTS:
            label = dice.choice(sorted(self.world.versions))
            name = self.world.roll_out(label, some_stages(dice), some_policy(dice))
            self.names += [name] if name else []

    def all_hear(self):
        for server in self.world.servers:
            server.snapshots.refresh()

    # --- people -----------------------------------------------------------------------------------

    @rule(dice=DICE)
    def roll_out(self, dice):
        self.begin_rollout(dice)

    @rule(dice=DICE)
    def act(self, dice):
        if self.names:
            self.world.act(dice.choice(self.names), dice.choice(VERBS))

    @rule(dice=DICE)
    def use_what_is_rarely_used(self, dice):
        if dice.random() < 0.1:
            self.world.revoke(dice.choice(sorted(self.world.versions)))
        self.world.kill(killed=dice.random() < 0.2)

    @rule(dice=DICE)
    def regret(self, dice):
        """Everybody installs what there is, and now and then it is taken back."""
        server = dice.randrange(4)
        for device in dice.sample(self.world.devices, 8):
            self.world.poll([(server, device)])
            if device.attempt is not None:
                self.world.report(device, "committed")
        if self.names and dice.random() < 0.3:
            self.world.act(dice.choice(self.names), "rollback")

    @rule(dice=DICE)
    def hear(self, dice):
        dice.choice(self.world.servers).snapshots.refresh()

    # --- devices ----------------------------------------------------------------------------------

    @rule(dice=DICE)
    def poll_one_by_one(self, dice):
        """With nobody else about, each answer can be looked at closely."""
        server = dice.randrange(4)
        self.world.servers[server].snapshots.refresh()
        self.world.servers[0].snapshots.refresh()
        for device in dice.sample(self.world.devices, 4):
            (answer,) = self.world.poll([(server, device)])
            self.world.check_offer(device, answer)
            self.world.check_sticky(device)

    @rule(dice=DICE)
    def poll_at_once(self, dice):
        """All at the same moment, from processes whose snapshots are of different age."""
        self.world.poll(self.crowd(dice))

    @rule(dice=DICE)
    def poll_while_somebody_acts(self, dice):
        if self.names:
            name, verb = dice.choice(self.names), dice.choice(["pause", "resume", "promote", "halt"])
            self.world.poll(self.crowd(dice), beside=lambda: self.world.act(name, verb))

    @rule(dice=DICE)
    def fail_again_and_again(self, dice):
        """As a device does on which the version just does not run."""
        device, server = dice.choice(self.world.devices), dice.randrange(4)
        self.world.servers[server].snapshots.refresh()
        for _ in range(5):
            (answer,) = self.world.poll([(server, device)])
            self.world.check_offer(device, answer)
            if device.attempt is not None:
                self.world.report(device, dice.choice(["failed", "rolled_back"]))

    def crowd(self, dice):
        """Some devices ask twice at once, as after a lost answer."""
        return [
            (dice.randrange(4), dice.choice(self.world.devices)) for _ in range(dice.choice([8, 60, 150]))
        ]

    @rule(dice=DICE)
    def report(self, dice):
        for device in dice.sample(self.world.devices, 20):
            if device.attempt is not None:
                self.world.report(device, dice.choice(REPORTS))

    @rule(dice=DICE)
    def wait(self, dice):
        self.world.pass_time(dice.choice([1, 30, 61, 600, 1500, 3599, 3600, 8000]))
        if dice.random() < 0.2:
            self.world.expire()

    @invariant()
    def holds(self):
        if hasattr(self, "names"):
            self.world.check()


@pytest.mark.timeout(0 if "GRAYLAG_INVARIANTS" in os.environ else 180)
def test_the_promises_of_a_rollout_hold_whatever_happens(database_url, record_property):
    world = World(database_url)
    here = type("Here", (Rollouts,), {"world": world})
    began = time.monotonic()
    try:
        while world.operations < OPERATIONS:
            _run(here)
    finally:
        world.close()
    record_property("operations_per_s", round(world.operations / (time.monotonic() - began)))
    print(world.operations, "operations in", round(time.monotonic() - began), "s:", world.told)  # noqa: T201
    heard = REASONS if OPERATIONS >= LONG else {"update"}
    assert heard <= set(world.told), "what never happens is not proved"


def _run(machine):
    run_machine(
        machine,
        settings=settings(
            max_examples=2,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            # Shrinking replays hundreds of stories against a database; the story is printed as it was.
            phases=[Phase.generate],
            print_blob=True,
        ),
    )
