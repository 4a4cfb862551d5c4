"""What the benchmark serves: versions, cohorts, rollouts and rows of devices, written straight into a database."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from sdk_contract.documents import Bytes, Component, Manifest, PatchDescriptor, Variant, timestamp
from service.cli.bench.fleet import Handset
from service.database import transaction
from service.domain.cohorts import in_percent
from service.signing import KeySigner
from service.store import cohorts, patches, rollouts, versions

QUIET, BUSY = "quiet", "busy"
"""The model whose polls get nothing, and the one whose polls get an offer."""
RUNNING = "v1"
VERSIONS = 12
RULES: tuple[dict[str, Any], ...] = (
    {"attr": "region", "in": ["cn-east", "cn-north"]},
    {"attr": "app_version", "semver": ">=6.0"},
    {"all": [{"attr": "ram_mb", "gte": 8192}, {"attr": "soc", "eq": "kirin9020"}]},
    {"attr": "user_group", "in": ["internal", "beta"]},
    {"any": [{"attr": "soc", "prefix": "sd7"}, {"attr": "region", "eq": "sa-east"}]},
    {"all": [{"attr": "os", "eq": "harmony"}, {"not": {"attr": "region", "eq": "us-east"}}]},
    {"attr": "battery_health", "exists": True},
    {"attr": "ram_mb", "lt": 4096},
    {"all": [{"cohort": "c0"}, {"attr": "app_version", "semver": ">=5.5"}]},
)
LISTED = "listed"
INHABITED = ("c0", "c8")
"""Cohorts that the devices of the benchmark are in; `c8` names `c0`."""
SLIVER = 0.01
"""One bucket of ten thousand, percent."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How big the world is.

    Attributes:
        devices: rows of devices.
        rollouts: that run, all of the model whose polls get nothing, none of them settled.
        listed: ids on the one cohort that is a list.
    """

    devices: int
    rollouts: int
    listed: int


SMALL, USUAL, BIG = Scale(1_000, 1, 10), Scale(20_000, 20, 100), Scale(1_000_000, 200, 100_000)


@dataclass(frozen=True, slots=True)
class Signers:
    """Keys of the world; nobody checks their signatures."""

    publisher: KeySigner = field(default_factory=lambda: KeySigner(Ed25519PrivateKey.generate()))
    patcher: KeySigner = field(default_factory=lambda: KeySigner(Ed25519PrivateKey.generate()))


def fill(engine: Engine, scale: Scale, handsets: Sequence[Handset]) -> None:
    """Write a world into an empty database; the first rows of devices are `handsets`, with their keys."""
    with transaction(engine) as session:
        _devices(session, scale, handsets)
        _cohorts(session, scale)
        signers = Signers()
        for model in (QUIET, BUSY):
            session.add(versions.ModelRow(name=model))
            session.flush()
            labels = [f"v{number}" for number in range(1, VERSIONS + 1)]
            made = [
                version_row(session, model, label, number + 1, signers) for number, label in enumerate(labels)
            ]
            _patch(session, made[0], made[-1], signers)
            if model == QUIET:
                _rollouts(session, made[1:], scale.rollouts, handsets)
        _rollout(session, made[-1], [("everyone", 100)], "salt")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze devices"))


def _devices(session: Session, scale: Scale, handsets: Sequence[Handset]) -> None:
    columns = {"ids": [one.id for one in handsets], "keys": [one.key.public_key for one in handsets]}
    session.execute(
        text(
            """insert into devices (id, public_key, status)
               select id, key, 'accepted' from unnest(cast(:ids as text[]), cast(:keys as bytea[])) as one(id, key)"""
        ),
        columns,
    )
    session.execute(
        text(
            """insert into devices (id, public_key, status, seen_at)
               select 'row_' || i, sha256(i::text::bytea), 'accepted', now() - i * interval '1 second'
               from generate_series(1, :rows) as i"""
        ),
        {"rows": max(0, scale.devices - len(handsets))},
    )


def _cohorts(session: Session, scale: Scale) -> None:
    rules: dict[str, dict[str, Any] | None] = {f"c{index}": rule for index, rule in enumerate(RULES)} | {
        "everyone": {},
        LISTED: None,
    }
    session.add_all(cohorts.CohortRow(name=name, rule=rule) for name, rule in rules.items())
    session.flush()
    session.execute(
        text(
            """insert into cohort_members (cohort, device_id)
               select :cohort, 'row_' || i from generate_series(1, :listed) as i"""
        ),
        {"cohort": LISTED, "listed": scale.listed},
    )


def version_row(
    session: Session, model: str, label: str, counter: int, signers: Signers, *, size: int = 4_200_000_000
) -> versions.VersionRow:
    """A version that is ready, of one build of two files; nothing of it is in the object store.

    Args:
        session: where to write.
        model: its name; the model's row is there already.
        label: of the version.
        counter: its place among the versions of the model.
        signers: keys of the world.
        size: of the file that changes, bytes.
    """
    parts = [("backbone", size, f"{model}-{counter}"), ("tokenizer", 4_000_000, model)]
    components = [
        Component(name=name, path=f"{name}.bin", size=size, sha256=hashlib.sha256(seed.encode()).hexdigest())
        for name, size, seed in parts
    ]
    now = datetime.now(UTC)
    manifest = Manifest(
        model=model,
        version=label,
        counter=counter,
        variants=[Variant(name="default", components=components)],
        issued=timestamp(now),
        expires=timestamp(now + timedelta(days=365)),
    )
    for part in components:
        if session.get(versions.BlobRow, part.sha256) is None:
            session.add(versions.BlobRow(sha256=part.sha256, size=part.size, stored=True))
            session.flush()
    row = versions.VersionRow(
        model=model,
        label=label,
        counter=counter,
        state="ready",
        created_by="bench",
        manifest=manifest.seal([signers.publisher]),
        manifest_sha256=hashlib.sha256(manifest.to_bytes()).hexdigest(),
        ready_at=now,
        variants=[
            versions.VariantRow(
                name="default",
                selector={},
                components=[
                    versions.ComponentRow(name=part.name, path=part.path, blob_sha256=part.sha256)
                    for part in components
                ],
            )
        ],
    )
    session.add(row)
    session.flush()
    return row


def _patch(
    session: Session, source: versions.VersionRow, target: versions.VersionRow, signers: Signers
) -> None:
    old, new = (row.variants[0].components[0].blob_sha256 for row in (source, target))
    made = hashlib.sha256(f"{old}{new}".encode()).hexdigest()
    descriptor = PatchDescriptor(
        format="glp1",
        source=Bytes(sha256=old, size=4_200_000_000),
        target=Bytes(sha256=new, size=4_200_000_000),
        patch=Bytes(sha256=made, size=350_000_000),
        index_sha256=made,
        working_set=8_000_000,
        issued=timestamp(datetime.now(UTC)),
    )
    session.add(
        patches.PatchRow(
            source_sha256=old,
            target_sha256=new,
            format="glp1",
            state="ready",
            sha256=made,
            size=descriptor.patch.size,
            working_set=descriptor.working_set,
            descriptor=descriptor.seal([signers.patcher]),
        )
    )


def _rollouts(
    session: Session, offered: Sequence[versions.VersionRow], wanted: int, handsets: Sequence[Handset]
) -> None:
    cohorts = [*(f"c{index}" for index in range(len(RULES))), LISTED]
    for index in range(wanted):
        first, second = cohorts[index % 10], cohorts[(index + 3) % 10]
        # Cohorts that have devices of the benchmark get one bucket in the open stage, the others many.
        percent = SLIVER if first in INHABITED else 25
        salt = _salt(index, percent, handsets)
        _rollout(session, offered[index % len(offered)], [(first, percent), (second, 100)], salt)


def _salt(index: int, percent: float, handsets: Sequence[Handset]) -> str:
    """The first one that leaves every device of the benchmark out of a sliver."""
    if percent != SLIVER:
        return f"salt-{index}"
    salts = (f"salt-{index}-{number}" for number in count())
    return next(salt for salt in salts if not any(in_percent(salt, one.id, SLIVER) for one in handsets))


def _rollout(
    session: Session, version: versions.VersionRow, stages: Sequence[tuple[str, float]], salt: str
) -> None:
    row = rollouts.RolloutRow(
        id=uuid4(),
        model=version.model,
        version_id=version.id,
        name=f"{version.model}-{salt}",
        state="running",
        salt=salt,
        stage=0,
        stage_since=datetime.now(UTC),
        created_by="bench",
        started_at=datetime.now(UTC),
        stages=[
            rollouts.StageRow(ordinal=ordinal, cohort=cohort, percent=percent)
            for ordinal, (cohort, percent) in enumerate(stages)
        ],
    )
    session.add(row)
    session.flush()
