"""Invariants of rollouts under random actions of release managers, devices, four processes and the clock.

The short form runs with all tests. The long form is `make invariants`: GRAYLAG_INVARIANTS actions.
"""

import os
import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tests.service.serving.invariants.simulated_fleet import World

OPERATIONS = int(os.environ.get("GRAYLAG_INVARIANTS", "2000"))
LONG = 20_000
STEPS = 50
MAX_ROLLOUTS = 8
RNG = st.integers(0, 2**32 - 1).map(random.Random)
"""Hypothesis chooses the order of actions, a random generator their details, so that runs are varied."""
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
        "in_holdout",
        "outside_window",
        "throttled",
    ),
    *(
        "behind_barrier",
        "paused",
        "halted",
        "too_many_failures",
        "model_disabled",
        "rollback",
        "awaiting_activation",
    ),
}
"""Reasons that must have occurred in a run of `LONG` operations or more."""
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


def some_versions(rng):
    return [(rng.randint(1, 1000), rng.randint(0, 3), rng.random() < 0.2) for _ in range(rng.randint(2, 5))]


def some_stages(rng):
    if rng.random() < 0.5:
        return [(rng.choice(["everyone", "everyone", "everyone", "insiders"]), 100)]
    widths = sorted(rng.sample([0.5, 10, 25, 50, 75, 100], rng.randint(1, 3)))
    return [("insiders", 100)] * rng.randint(0, 1) + [("everyone", width) for width in widths]


def some_policy(rng):
    policy: dict[str, Any] = {}
    pacing: dict[str, int] = {}
    if rng.random() < 0.5:
        pacing["max_open_downloads"] = rng.randint(1, 12)
    if rng.random() < 0.5:
        pacing["max_bytes_per_hour"] = rng.randint(1000, 12_000)
    if pacing:
        policy["pacing"] = pacing
    if rng.random() < 0.3:
        policy["holdout_percent"] = rng.choice([5, 30])
    if rng.random() < 0.4:
        policy["windows"] = rng.choice([EVERY_OTHER_HOUR, EVENINGS])
    if rng.random() < 0.2:
        policy["activation"] = "deferred"
    return policy


class Rollouts(RuleBasedStateMachine):
    """The actions; the test provides the world."""

    world: World

    @initialize(rng=RNG)
    def begin(self, rng):
        self.world.reset(some_versions(rng))
        self.names = []
        for device in self.world.devices:
            device.runs = rng.choice(["v1", "v1", None])
        for _ in range(2):
            self.begin_rollout(rng)
        self.refresh_all()

    def begin_rollout(self, rng):
        if len(self.names) < MAX_ROLLOUTS:
            label = rng.choice(sorted(self.world.versions))
            name = self.world.roll_out(label, some_stages(rng), some_policy(rng))
            self.names += [name] if name else []

    def refresh_all(self):
        for server in self.world.servers:
            server.snapshots.refresh()

    # --- release managers -----------------------------------------------------------------------------------

    @rule(rng=RNG)
    def roll_out(self, rng):
        self.begin_rollout(rng)

    @rule(rng=RNG)
    def act(self, rng):
        if self.names:
            self.world.act(rng.choice(self.names), rng.choice(VERBS))

    @rule(rng=RNG)
    def revoke_or_disable(self, rng):
        if rng.random() < 0.1:
            self.world.revoke(rng.choice(sorted(self.world.versions)))
        self.world.set_disabled(disabled=rng.random() < 0.2)

    @rule(rng=RNG)
    def install_and_roll_back(self, rng):
        """Some devices install what they are offered; sometimes a rollout is rolled back."""
        server = rng.randrange(4)
        for device in rng.sample(self.world.devices, 8):
            self.world.poll([(server, device)])
            if device.attempt is not None:
                self.world.report(device, "committed")
        if self.names and rng.random() < 0.3:
            self.world.act(rng.choice(self.names), "rollback")

    @rule(rng=RNG)
    def refresh_one(self, rng):
        rng.choice(self.world.servers).snapshots.refresh()

    # --- devices ----------------------------------------------------------------------------------

    @rule(rng=RNG)
    def poll_one_by_one(self, rng):
        """Poll without concurrency, so that every response can be checked."""
        server = rng.randrange(4)
        self.world.servers[server].snapshots.refresh()
        self.world.servers[0].snapshots.refresh()
        for device in rng.sample(self.world.devices, 4):
            (response,) = self.world.poll([(server, device)])
            self.world.check_offer(device, response)
            self.world.check_sticky(device)

    @rule(rng=RNG)
    def poll_at_once(self, rng):
        """Poll concurrently, through processes with snapshots of different age."""
        self.world.poll(self.random_polls(rng))

    @rule(rng=RNG)
    def poll_during_an_action(self, rng):
        if self.names:
            name, verb = rng.choice(self.names), rng.choice(["pause", "resume", "promote", "halt"])
            self.world.poll(self.random_polls(rng), beside=lambda: self.world.act(name, verb))

    @rule(rng=RNG)
    def fail_repeatedly(self, rng):
        """Fail a version again and again, as a device on which it does not run."""
        device, server = rng.choice(self.world.devices), rng.randrange(4)
        self.world.servers[server].snapshots.refresh()
        for _ in range(5):
            (response,) = self.world.poll([(server, device)])
            self.world.check_offer(device, response)
            if device.attempt is not None:
                self.world.report(device, rng.choice(["failed", "rolled_back"]))

    def random_polls(self, rng):
        """Random pairs of server and device; some devices poll twice, as after a lost response."""
        return [(rng.randrange(4), rng.choice(self.world.devices)) for _ in range(rng.choice([8, 60, 150]))]

    @rule(rng=RNG)
    def report(self, rng):
        for device in rng.sample(self.world.devices, 20):
            if device.attempt is not None:
                self.world.report(device, rng.choice(REPORTS))

    @rule(rng=RNG)
    def wait(self, rng):
        self.world.pass_time(rng.choice([1, 30, 61, 600, 1500, 3599, 3600, 8000]))
        if rng.random() < 0.2:
            self.world.expire()

    @invariant()
    def holds(self):
        if hasattr(self, "names"):
            self.world.check()


@pytest.mark.timeout(0 if "GRAYLAG_INVARIANTS" in os.environ else 180)
def test_the_invariants_of_a_rollout_hold_under_random_actions(database_url, record_property):
    world = World(database_url)
    machine = type("Machine", (Rollouts,), {"world": world})
    started = time.monotonic()
    try:
        while world.operations < OPERATIONS:
            _run(machine)
    finally:
        world.close()
    record_property("operations_per_s", round(world.operations / (time.monotonic() - started)))
    print(world.operations, "operations in", round(time.monotonic() - started), "s:", world.reasons)  # noqa: T201
    required = REASONS if OPERATIONS >= LONG else {"update"}
    assert required <= set(world.reasons), "some reasons never occurred"


def _run(machine):
    run_machine(
        machine,
        settings=settings(
            max_examples=2,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            # Hypothesis is deterministic where CI is set, and would repeat the same two examples to the end.
            derandomize=False,
            suppress_health_check=list(HealthCheck),
            # No shrinking, because it would replay hundreds of runs against a database.
            phases=[Phase.generate],
            print_blob=True,
        ),
    )
