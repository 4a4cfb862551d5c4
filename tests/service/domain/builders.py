"""Short constructors of models, versions, rollouts, patches and devices for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from service.domain.catalog import Component, ModelView, Patch, Rollout, Stage, Variant, Version
from service.domain.polling.decisions import DecisionTime, DeviceContext
from service.domain.rollouts.policy import parse_policy
from service.domain.targeting.rules import compile_rule

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WAITING_SINCE = NOW - timedelta(minutes=10)
DECISION_TIME = DecisionTime(NOW, WAITING_SINCE)


def digest(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


def variant(content, *, name="default", rule=None, priority=0, sizes=None):
    """Build a variant; `content` maps component names to words that stand for their files."""
    parts = tuple(
        Component(part, f"{part}.bin", digest(word), (sizes or {}).get(part, 1000))
        for part, word in content.items()
    )
    return Variant(name, priority, compile_rule(rule or {}), parts)


def version(counter, *variants, revoked=False, floor=0, barrier=False):
    chosen = variants or (variant({"weights": f"w{counter}"}),)
    return Version(
        id=counter,
        label=f"v{counter}",
        counter=counter,
        floor=floor,
        revoked=revoked,
        variants=tuple(sorted(chosen, key=lambda item: -item.priority)),
        manifest=b"{}",
        manifest_sha256=digest(f"m{counter}"),
        ready_at=NOW,
        barrier=barrier,
    )


def stage(rule=None, percent=100.0, cohort="everyone"):
    return Stage(cohort, compile_rule(rule or {}), percent)


def rollout(target, *stages, state="running", at=0, salt="salt", **policy):
    """Build a rollout; `policy` is the JSON of its policy."""
    return Rollout(
        uuid4(),
        f"to-{target.label}",
        state,
        target,
        salt,
        at,
        stages or (stage(),),
        policy=parse_policy(policy),
    )


def patch(source, target, *, ready=True, kind="glp1", size=100, since=NOW):
    return Patch(
        format=kind,
        source_sha256=digest(source),
        target_sha256=digest(target),
        created_at=since,
        sha256=digest(f"{kind}:{source}>{target}") if ready else None,
        size=size,
    )


def model_view(versions, rollouts=(), patches=(), *, disabled=False):
    by_pair: dict[tuple[str, str], tuple[Patch, ...]] = {}
    for item in patches:
        pair = item.source_sha256, item.target_sha256
        by_pair[pair] = (*by_pair.get(pair, ()), item)
    return ModelView("assistant", disabled, {item.label: item for item in versions}, tuple(rollouts), by_pair)


def device_context(current="v1", **known):
    """Build a device; by default it reports what the client of the seed article reports."""
    values: dict[str, Any] = {
        "device_id": "dev_12345",
        "attributes": {},
        "components": {},
        "wanted_components": None,
        "accepts": ("full",),
        "blocked_status": None,
    }
    return DeviceContext(current=current, **(values | known))
