"""From an answer to what may be installed: every signature and rule that stands between a server and a disk.

The order of the checks is normative for SDKs: directive (signature, device, model, nonce, request bytes,
age), manifest (digest, signature, model, expiry, counter, floor, variant), then each way to each
component. The answer's plain fields are never believed; they only carry addresses.

With `strict_json`, `envelope`, `fields` and `documents` this is all of the verification; it asks for nothing
but the standard library and `cryptography`.
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
    payload_digest,
    require_fresh,
)

CLOCK_IS_SANE = timedelta(days=1)
"""A clock this close to a fresh signature is right; one further off is not asked about expiry."""
MAX_LEAP = 2**31
"""How far one manifest may raise the floor that a device remembers.

A floor is for ever. With a floor near 2^53 stolen publishers' keys would lock a fleet out of every later version, also
after those keys are replaced; so bounded, the rightful publisher goes on above whatever floor the thief has left.
"""
INSTALLS = ("install", "rollback")
"""Actions that name a manifest."""


class Way(Protocol):
    """One way to a component's bytes, as the answer offers it; nothing of it is believed."""

    @property
    def format(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def descriptor(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, byte for byte, and how long ago."""

    body: bytes
    device_id: str
    model: str | None
    nonce: str
    elapsed_s: float
    modules: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a device remembers.

    Attributes:
        counter: of the version that runs; absent where none does.
        floor: the highest of any manifest ever accepted.
        newest_issued: latest `issued` of a directive that agreed with the device's clock, or empty.
    """

    counter: int | None = None
    floor: int = 0
    newest_issued: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A version that may be installed, and the files of it in this device's variant."""

    manifest: Manifest
    components: list[Component]


def check_directive(envelope: bytes, question: Question, trust: TrustBundle) -> Directive:
    """The directive, once it is known to answer this question and nobody else's.

    Raises:
        ContractError: a signature, or `WrongDevice`, `WrongModel`, `WrongNonce`, `WrongRequest`, `Expired`.
    """
    directive = Directive.open(envelope, trust.for_role("director"))
    if directive.device_id != question.device_id:
        raise errors.WrongDevice(f"for {directive.device_id}")
    if question.model is not None and directive.model != question.model:
        raise errors.WrongModel(f"{directive.model}, asked for {question.model}")
    if directive.nonce != question.nonce:
        raise errors.WrongNonce("not the nonce of this poll")
    if directive.request_sha256 != hashlib.sha256(question.body).hexdigest():
        raise errors.WrongRequest("made for other request bytes")
    # The nonce proves freshness without a clock: it was signed at most `elapsed_s` ago.
    require_fresh(directive, moment(directive.issued) + timedelta(seconds=question.elapsed_s))
    return directive


def check_target(
    envelope: bytes | None,
    directive: Directive,
    question: Question,
    trust: TrustBundle,
    memory: Memory,
    *,
    now: datetime,
) -> Target:
    """The version that a verified directive orders, once the publishers and this device's memory allow it.

    Args:
        envelope: of the manifest; None where none came.
        directive: verified, with an action of `INSTALLS`.
        question: says which modules are wanted.
        trust: whose publishers must have signed.
        memory: of this device.
        now: by the device's clock, which may be wrong.

    Raises:
        ContractError: the first rule that does not hold.
    """
    if envelope is None or payload_digest(envelope) != directive.manifest_sha256:
        raise errors.WrongManifest("not the manifest that the directive names, or none at all")
    manifest = Manifest.open(envelope, trust.for_role("publisher"))
    if manifest.model != directive.model:
        raise errors.WrongModel(f"the manifest is of {manifest.model}, the directive of {directive.model}")
    present = trusted_time(directive.issued, memory.newest_issued, now)
    require_fresh(trust, present)
    require_fresh(manifest, present)
    require_allowed(manifest, memory, rollback=directive.action == "rollback")
    return Target(manifest, _components(manifest, directive.variant or "", question.modules))


def require_allowed(manifest: Manifest, memory: Memory, *, rollback: bool) -> None:
    """Refuse to go back, but where a fresh directive orders it, and never below the floor.

    Raises:
        RollbackRefused: below the floor, or older than what runs.
        FastForward: it would raise the floor by more than `MAX_LEAP`.
    """
    if manifest.counter < max(memory.floor, manifest.floor):
        raise errors.RollbackRefused(f"counter {manifest.counter} is below the floor {memory.floor}")
    if manifest.floor - memory.floor > MAX_LEAP:
        raise errors.FastForward(f"floor {manifest.floor} after {memory.floor}")
    if not rollback and memory.counter is not None and manifest.counter < memory.counter:
        raise errors.RollbackRefused(f"counter {manifest.counter} is older than {memory.counter}")


def check_way(way: Way, component: Component, trust: TrustBundle) -> PatchDescriptor | None:
    """The verified descriptor of a patch to `component`; None for the whole file.

    Raises:
        ContractError: this way leads elsewhere, or is not the patcher's; another one may be good.
    """
    if way.format == "full":
        if (way.sha256, way.size) != (component.sha256, component.size):
            raise errors.MixedVersions(f"the whole file of {component.name} is not the manifest's")
        return None
    if way.descriptor is None:
        raise errors.MixedVersions(f"a patch of {component.name} without a descriptor")
    descriptor = PatchDescriptor.open(strict_json.dumps(way.descriptor), trust.for_role("patcher"))
    if (descriptor.target.sha256, descriptor.target.size) != (component.sha256, component.size):
        raise errors.MixedVersions(f"a patch of {component.name} leads elsewhere")
    if (descriptor.patch.sha256, descriptor.patch.size) != (way.sha256, way.size):
        raise errors.MixedVersions(f"a patch of {component.name} is not the one that was signed")
    if descriptor.format != way.format or descriptor.index_sha256 is None:
        raise errors.MixedVersions(f"a patch of {component.name} is no {way.format} with an index")
    return descriptor


def trusted_time(issued: str, newest_issued: str, now: datetime) -> datetime:
    """The moment to compare expiry with: the device's clock when it is sane, else the newest signature.

    A directive's `issued` was signed in answer to this poll, so it is true within the round trip, unless
    the director's key is lost; then a sane clock and the newest signature ever seen still hold.
    """
    floor = max(moment(issued), moment(newest_issued) if newest_issued else moment(issued))
    return max(floor, now) if agree(floor, now) else floor


def agree(signed: datetime, now: datetime) -> bool:
    """Do a signature's time and the device's clock say the same? Only then is either worth remembering.

    One server with a wrong clock must not make a fleet believe, for ever, that everything has expired.
    """
    return abs(now - signed) <= CLOCK_IS_SANE


def moment(text: str) -> datetime:
    """A document's timestamp as a time."""
    return datetime.fromisoformat(text)


def _components(manifest: Manifest, name: str, modules: Iterable[str] | None) -> list[Component]:
    """Of a variant the parts that this device wants; `modules` absent means all."""
    variant = manifest.variant(name)
    if variant is None:
        raise errors.WrongVariant(f"the manifest has no variant {name}")
    names = [part.name for part in variant.components]
    paths = [part.path for part in variant.components]
    if len(set(names)) != len(names) or len(set(paths)) != len(paths):
        raise errors.MixedVersions("the manifest gives one name or path to two components")
    absent = sorted(set(modules or []) - set(names))
    if absent:
        raise errors.MixedVersions(f"the version has no module {', '.join(absent)}")
    return [part for part in variant.components if modules is None or part.name in modules]
