"""Verifies a poll response: all signatures and rules that a device checks before it installs anything.

The order of the checks is part of the contract; `README.md`, section 6, lists them:

1. `verify_directive`: signature, device, model, nonce, request bytes, age.
2. `verify_target`: the manifest's digest, signature, model, expiry, counter, floor and variant.
3. `verify_option`: every download option of every component.

The response's unsigned fields are never trusted; they only say where to download.

This module, `strict_json`, `envelope`, `validation`, `formats` and `documents` are the complete verification. They
need only the standard library and `cryptography`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sdk_contract import errors, strict_json
from sdk_contract.documents import (
    Component,
    Directive,
    Manifest,
    PatchDescriptor,
    TrustBundle,
    check_not_expired,
    payload_digest,
)
from sdk_contract.formats import FULL

MAX_CLOCK_SKEW = timedelta(days=1)
"""The device's clock counts only while it is within this distance of a fresh signature."""
MAX_FLOOR_INCREASE = 2**31
"""How far one manifest may raise the floor that a device remembers.

The floor never falls. Without this limit, a thief of publisher keys could set a floor near 2^53 and lock the fleet out
of every later version, even after those keys are replaced. With it, the rightful publisher can use counters above it.
"""
INSTALL_ACTIONS = ("install", "rollback")
"""Actions that name a manifest."""


class UnverifiedOption(Protocol):
    """A download option as the response offers it."""

    @property
    def format(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def descriptor(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class PollContext:
    """The poll that a response must match.

    Attributes:
        body: the request body, byte for byte.
        model: the model that was asked for; None accepts any.
        elapsed_s: seconds since the request was sent.
        wanted_components: names of the components to install; None for all.
    """

    body: bytes
    device_id: str
    model: str | None
    nonce: str
    elapsed_s: float
    wanted_components: list[str] | None = None


@dataclass(frozen=True, slots=True)
class TrustState:
    """What a device remembers for rollback and freeze protection.

    Attributes:
        counter: of the running version; None without one.
        floor: the highest floor of any manifest that was accepted.
        newest_issued: latest `issued` of a directive that agreed with the device's clock; empty without one.
    """

    counter: int | None = None
    floor: int = 0
    newest_issued: str = ""


@dataclass(frozen=True, slots=True)
class InstallTarget:
    """A version that may be installed, and its components for this device."""

    manifest: Manifest
    components: list[Component]


def verify_directive(envelope: bytes, context: PollContext, trust: TrustBundle) -> Directive:
    """Verify that a directive is genuine and was made for this poll.

    Raises:
        ContractError: a signature error, `WrongDevice`, `WrongModel`, `WrongNonce`, `WrongRequest` or `Expired`.
    """
    directive = Directive.from_envelope(envelope, trust.for_role("director"))
    if directive.device_id != context.device_id:
        raise errors.WrongDevice(f"the directive is for {directive.device_id}")
    if context.model is not None and directive.model != context.model:
        raise errors.WrongModel(f"the directive is for {directive.model}, the poll asked for {context.model}")
    if directive.nonce != context.nonce:
        raise errors.WrongNonce("the directive's nonce is not the poll's")
    if directive.request_sha256 != hashlib.sha256(context.body).hexdigest():
        raise errors.WrongRequest("the directive was made for other request bytes")
    # The nonce proves freshness without a clock: the directive was signed at most `elapsed_s` ago.
    check_not_expired(directive, parse_timestamp(directive.issued) + timedelta(seconds=context.elapsed_s))
    return directive


def verify_target(
    envelope: bytes | None,
    directive: Directive,
    context: PollContext,
    trust: TrustBundle,
    state: TrustState,
    *,
    now: datetime,
) -> InstallTarget:
    """Verify the manifest that a directive names, and pick the components to install.

    Args:
        envelope: of the manifest; None if the response had none.
        directive: verified, with one of `INSTALL_ACTIONS`.
        context: names the wanted components.
        trust: holds the publisher keys.
        state: what this device remembers.
        now: the device's clock, which may be wrong.

    Raises:
        ContractError: the first rule that is violated.
    """
    if envelope is None or payload_digest(envelope) != directive.manifest_sha256:
        raise errors.WrongManifest("the response lacks the manifest that the directive names")
    manifest = Manifest.from_envelope(envelope, trust.for_role("publisher"))
    if manifest.model != directive.model:
        raise errors.WrongModel(f"the manifest is for {manifest.model}, the directive for {directive.model}")
    present = trusted_time(directive.issued, state.newest_issued, now)
    check_not_expired(trust, present)
    check_not_expired(manifest, present)
    check_rollback_protection(manifest, state, rollback=directive.action == "rollback")
    return InstallTarget(
        manifest, _wanted_components(manifest, directive.variant or "", context.wanted_components)
    )


def check_rollback_protection(manifest: Manifest, state: TrustState, *, rollback: bool) -> None:
    """Reject an older version unless a fresh directive orders the rollback, and any version below the floor.

    Raises:
        RollbackRefused: the counter is below the floor or below the running version's.
        FastForward: the manifest raises the floor by more than `MAX_FLOOR_INCREASE`.
    """
    if manifest.counter < max(state.floor, manifest.floor):
        raise errors.RollbackRefused(
            f"counter {manifest.counter} is below the floor {max(state.floor, manifest.floor)}"
        )
    if manifest.floor - state.floor > MAX_FLOOR_INCREASE:
        raise errors.FastForward(f"the floor would rise from {state.floor} to {manifest.floor}")
    if not rollback and state.counter is not None and manifest.counter < state.counter:
        raise errors.RollbackRefused(f"counter {manifest.counter} is below the running {state.counter}")


def verify_option(
    option: UnverifiedOption, component: Component, trust: TrustBundle
) -> PatchDescriptor | None:
    """Verify one download option of `component`; return a patch's descriptor, None for the whole file.

    Raises:
        ContractError: the option must not be used; others may be good.
    """
    if option.format == FULL:
        if (option.sha256, option.size) != (component.sha256, component.size):
            raise errors.MixedVersions(f"{component.name}: the whole file is not the manifest's")
        return None
    if option.descriptor is None:
        raise errors.MixedVersions(f"{component.name}: the patch has no descriptor")
    descriptor = PatchDescriptor.from_envelope(
        strict_json.dumps(option.descriptor), trust.for_role("patcher")
    )
    if (descriptor.target.sha256, descriptor.target.size) != (component.sha256, component.size):
        raise errors.MixedVersions(f"{component.name}: the patch's target is not the manifest's file")
    if (descriptor.patch.sha256, descriptor.patch.size) != (option.sha256, option.size):
        raise errors.MixedVersions(f"{component.name}: the patch is not the one that was signed")
    if descriptor.format != option.format or descriptor.index_sha256 is None:
        raise errors.MixedVersions(f"{component.name}: no {option.format} patch with a signed index")
    return descriptor


def trusted_time(issued: str, newest_issued: str, now: datetime) -> datetime:
    """The time to compare expiry with: the later of the signatures' times, and the device's clock if they agree.

    The director signed `issued` for this poll, so it is correct within the round trip. If the director's key was
    stolen, the clock and the newest signature that the device remembers still prevent back-dating.
    """
    signed = max(parse_timestamp(issued), parse_timestamp(newest_issued or issued))
    return max(signed, now) if clocks_agree(signed, now) else signed


def clocks_agree(signed: datetime, now: datetime) -> bool:
    """Whether a signature's time and the device's clock are within `MAX_CLOCK_SKEW`.

    A device remembers an `issued` only then. Otherwise one server with a wrong clock could make a whole fleet believe
    that everything has expired, and no later response could correct that.
    """
    return abs(now - signed) <= MAX_CLOCK_SKEW


def parse_timestamp(text: str) -> datetime:
    """A document's timestamp as a datetime in UTC."""
    return datetime.fromisoformat(text)


def _wanted_components(manifest: Manifest, name: str, wanted: Iterable[str] | None) -> list[Component]:
    """The components of variant `name` that this device wants; all if `wanted` is None."""
    variant = manifest.variant(name)
    if variant is None:
        raise errors.WrongVariant(f"the manifest has no variant {name}")
    names = [part.name for part in variant.components]
    paths = [part.path for part in variant.components]
    if len(set(names)) != len(names) or len(set(paths)) != len(paths):
        raise errors.MixedVersions("two components of the manifest share a name or a path")
    absent = sorted(set(wanted or []) - set(names))
    if absent:
        raise errors.MixedVersions(f"the version has no component {', '.join(absent)}")
    return [part for part in variant.components if wanted is None or part.name in wanted]
