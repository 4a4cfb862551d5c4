"""Virtual devices: their poll requests, their reports, and the outcomes of their updates."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from service.simulator.scenario import Network, Scenario
from service.testbed.devices import event_id, poll_fields

BACKOFF_BASE_S, BACKOFF_CAP_S = 30.0, 6 * 3600.0
STATES_BEFORE_OUTCOME = ("downloading", "downloaded", "staged", "activating")
FAILURE_OUTCOMES = ("failed", "rolled_back", "silent")


@dataclass(slots=True)
class VirtualDevice:
    """One device.

    Attributes:
        version: the version that it runs.
        clock_skew_s: error of its clock, seconds.
        legacy_poll: the recorded poll of an earlier release that it sends; None for a current client.
        backoff_s: its last pause after a failed request; 0 after a success.
        access_token: empty until it has enrolled.
    """

    id: str
    version: str
    network: Network
    attributes: Mapping[str, str]
    clock_skew_s: float = 0.0
    legacy_poll: Mapping[str, Any] | None = None
    backoff_s: float = 0.0
    access_token: str = ""

    def poll_body(self, model: str) -> bytes:
        """The JSON body of its next poll."""
        if self.legacy_poll is not None:
            own = {"device_id": self.id, "current_version": self.version, "model": model}
            return json.dumps({**self.legacy_poll, **own}).encode()
        return json.dumps(poll_fields(self.id, model, self.version, self.attributes)).encode()

    def next_backoff_s(self, chance: float, retry_after_s: float = 0.0) -> float:
        """The pause after a failed request, as the contract specifies it ("Time").

        Args:
            chance: random number from 0 to 1; picks a pause between the base and three times the last one.
            retry_after_s: the shortest pause that the server allows.
        """
        longest = max(BACKOFF_BASE_S, 3 * self.backoff_s)
        self.backoff_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S + (longest - BACKOFF_BASE_S) * chance)
        return max(retry_after_s, self.backoff_s)


def create_fleet(
    scenario: Scenario, count: int, rng: random.Random, *, prefix: str = "sim"
) -> list[VirtualDevice]:
    """Devices of a scenario.

    Args:
        scenario: shares of versions, networks and attributes.
        count: number of devices.
        rng: source of all randomness; the same seed gives the same fleet.
        prefix: beginning of all device ids.
    """
    networks = list(scenario.networks.values())
    versions = _draw(scenario.versions, count, rng)
    connections = rng.choices(networks, [network.share for network in networks], k=count)
    attributes = {name: _draw(values, count, rng) for name, values in scenario.attributes.items()}
    # Devices with equal attributes share one object: a fleet has up to a million devices.
    shared: dict[tuple[str, ...], dict[str, str]] = {}
    devices = []
    for index in range(count):
        values = tuple(drawn[index] for drawn in attributes.values())
        legacy_poll = rng.choice(recorded_polls()) if rng.random() < scenario.old_clients else None
        devices.append(
            VirtualDevice(
                id=f"{prefix}_{index:07d}",
                version=versions[index],
                network=connections[index],
                attributes=shared.setdefault(values, dict(zip(attributes, values, strict=True))),
                clock_skew_s=rng.uniform(-scenario.clock_skew_s, scenario.clock_skew_s),
                legacy_poll=legacy_poll,
            )
        )
    return devices


@cache
def recorded_polls() -> Sequence[Mapping[str, Any]]:
    """Poll requests of earlier releases, which the server must accept forever."""
    text = (files("service.simulator") / "recorded_polls.json").read_text()
    return [entry["poll"] for entry in json.loads(text)]


def draw_outcome(scenario: Scenario, version: str, chance: float) -> str:
    """The outcome of an attempt: `committed`, `failed`, `rolled_back` or `silent`.

    Args:
        scenario: shares of the outcomes.
        version: the version that is installed.
        chance: random number from 0 to 1.
    """
    shares = scenario.outcome_shares(version)
    for name in FAILURE_OUTCOMES:
        share: float = getattr(shares, name)
        if chance < share:
            return name
        chance -= share
    return "committed"


def report_body(
    device: VirtualDevice, attempt_id: str, outcome: str, *, size: int, epoch_s: float, rng: random.Random
) -> bytes:
    """The JSON body with all events of one attempt, in one batch at its end.

    Args:
        device: the reporting device; one with a legacy client reports only the outcome.
        attempt_id: from the poll response.
        outcome: the last state.
        size: downloaded bytes.
        epoch_s: seconds since 1970 when the attempt ended.
        rng: source of the random bits of event ids.
    """
    states = [outcome] if device.legacy_poll is not None else [*STATES_BEFORE_OUTCOME, outcome]
    events: list[dict[str, Any]] = [
        {
            "event_id": event_id(epoch_s + device.clock_skew_s, rng),
            "attempt_id": attempt_id,
            "seq": seq,
            "state": state,
            "bytes": 0 if state == "downloading" else size,
        }
        for seq, state in enumerate(states)
    ]
    if outcome == "failed":
        events[-1]["code"] = "output_hash_mismatch"
    return json.dumps(events).encode()


def _draw(weights: Mapping[str, float], count: int, rng: random.Random) -> list[str]:
    return rng.choices(list(weights), list(weights.values()), k=count)
