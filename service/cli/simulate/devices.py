"""Virtual devices: what each of them sends, and what becomes of what it is offered."""

import base64
import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from service.cli.simulate.scenario import Network, Scenario

BACK_OFF_BASE_S, BACK_OFF_CAP_S = 30.0, 6 * 3600.0
OUTCOMES = ("committed", "failed", "rolled_back", "silent")
STEPS = ("downloading", "downloaded", "staged", "activating")


@dataclass(slots=True)
class Virtual:
    """One device.

    Attributes:
        skew_s: how far its clock is off.
        old: the recorded poll of an earlier release that it sends, if it is not of this one.
        waited_s: the last pause after a failure; 0 after a success.
        token: what it proves itself with; empty until it has one.
    """

    id: str
    version: str
    network: Network
    attributes: Mapping[str, str]
    skew_s: float = 0.0
    old: Mapping[str, Any] | None = None
    waited_s: float = 0.0
    token: str = ""

    def poll(self, model: str) -> bytes:
        """The body of its next poll."""
        own: dict[str, Any] = {"device_id": self.id, "current_version": self.version, "model": model}
        if self.old is not None:
            return json.dumps({**self.old, **own}).encode()
        own |= {
            "attributes": self.attributes,
            "accepts": ["glp1", "bsdiff40", "full"],
            "nonce": base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode(),
            "trust_version": 1,
        }
        return json.dumps(own).encode()

    def back_off_s(self, chance: float, retry_after_s: float = 0.0) -> float:
        """How long it waits after a failure, as the contract says ("Time"): from the base to three times the last wait."""
        widest = max(BACK_OFF_BASE_S, 3 * self.waited_s)
        self.waited_s = min(BACK_OFF_CAP_S, BACK_OFF_BASE_S + (widest - BACK_OFF_BASE_S) * chance)
        return max(retry_after_s, self.waited_s)


def fleet(scenario: Scenario, count: int, rng: random.Random, *, prefix: str = "sim") -> list[Virtual]:
    """So many devices of a scenario."""
    versions, networks = scenario.versions, list(scenario.networks.values())
    runs = rng.choices(list(versions), list(versions.values()), k=count)
    connected = rng.choices(networks, [network.share for network in networks], k=count)
    traits = {
        name: rng.choices(list(values), list(values.values()), k=count)
        for name, values in scenario.attributes.items()
    }
    # One object for all devices that say the same of themselves.
    same: dict[tuple[str, ...], dict[str, str]] = {}
    made = []
    for index in range(count):
        values = tuple(drawn[index] for drawn in traits.values())
        old = rng.choice(recorded()) if rng.random() < scenario.old_clients else None
        made.append(
            Virtual(
                id=f"{prefix}_{index:07d}",
                version=runs[index],
                network=connected[index],
                attributes=same.setdefault(values, dict(zip(traits, values, strict=True))),
                skew_s=rng.uniform(-scenario.clock_skew_s, scenario.clock_skew_s),
                old=old,
            )
        )
    return made


@cache
def recorded() -> Sequence[Mapping[str, Any]]:
    """Polls as earlier releases sent them; what was sent once must be understood for ever."""
    text = (files("service.cli.simulate") / "recorded.json").read_text()
    return [entry["poll"] for entry in json.loads(text)]


def outcome(scenario: Scenario, version: str, chance: float) -> str:
    """What becomes of an attempt at a version."""
    fate = scenario.fate(version)
    for name in ("failed", "rolled_back", "silent"):
        share: float = getattr(fate, name)
        if chance < share:
            return name
        chance -= share
    return "committed"


def report(device: Virtual, attempt_id: str, end: str, size: int, now_s: float, rng: random.Random) -> bytes:
    """All events of one attempt, as a device sends them that was offline until the end."""
    states = [end] if device.old is not None else [*STEPS, end]
    events: list[dict[str, Any]] = []
    for seq, state in enumerate(states):
        events.append(
            {
                "event_id": _event_id(now_s + device.skew_s, rng),
                "attempt_id": attempt_id,
                "seq": seq,
                "state": state,
                "bytes": size if state not in STEPS[:1] else 0,
            }
        )
    if end == "failed":
        events[-1]["code"] = "output_hash_mismatch"
    return json.dumps(events).encode()


def _event_id(now_s: float, rng: random.Random) -> str:
    stamp = int(now_s * 1000) << 80
    digits = f"{stamp | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
