"""Rows for a test database: versions, cohorts, rollouts and devices, inserted directly."""

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

from sdk_contract.documents import Component, FileDigest, Manifest, PatchDescriptor, Variant, format_timestamp
from sdk_contract.formats import GLP1
from service.domain.targeting.buckets import in_percent
from service.infrastructure.database import transaction
from service.infrastructure.signing import LocalSigner
from service.store.distribution import rollouts
from service.store.fleet import cohorts
from service.store.releases import blobs, patches, versions
from service.testbed.devices import SyntheticDevice

NO_UPDATE_MODEL, UPDATE_MODEL = "no-update", "update"
"""The model whose polls are answered without an update, and the one whose polls get an offer."""
CURRENT_VERSION = "v1"
"""The version that polling devices run."""
VERSION_COUNT = 12
FULL_BYTES, PATCH_BYTES, TOKENIZER_BYTES = 4_200_000_000, 350_000_000, 4_000_000
COHORT_RULES: tuple[dict[str, Any], ...] = (
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
"""Rules of the cohorts `c0`, `c1`, ..."""
COHORTS_WITH_DEVICES = ("c0", "c8")
"""The cohorts that contain synthetic devices; the rule of `c8` refers to `c0`."""
ID_LIST_COHORT = "listed"
"""The cohort that is a list of device ids."""
ONE_BUCKET_PERCENT = 0.01
"""One of the 10,000 buckets, in percent."""


@dataclass(frozen=True, slots=True)
class DatasetSize:
    """Number of rows of a dataset.

    Attributes:
        devices: devices, including the synthetic ones.
        rollouts: running rollouts of the model whose polls get no update.
        listed: device ids in the cohort that is a list.
    """

    devices: int
    rollouts: int
    listed: int


SMALL = DatasetSize(1_000, 1, 10)
USUAL = DatasetSize(20_000, 20, 100)
BIG = DatasetSize(1_000_000, 200, 100_000)


@dataclass(frozen=True, slots=True)
class Signers:
    """Keys that sign manifests and patch descriptors; no device verifies them."""

    publisher: LocalSigner = field(default_factory=lambda: LocalSigner(Ed25519PrivateKey.generate()))
    patcher: LocalSigner = field(default_factory=lambda: LocalSigner(Ed25519PrivateKey.generate()))


def populate(engine: Engine, size: DatasetSize, devices: Sequence[SyntheticDevice]) -> None:
    """Fill an empty database.

    Args:
        engine: of the database.
        size: number of rows.
        devices: the synthetic devices that will poll; inserted with their public keys.
    """
    with transaction(engine) as session:
        _add_devices(session, size, devices)
        _add_cohorts(session, size)
        signers = Signers()
        for model in (NO_UPDATE_MODEL, UPDATE_MODEL):
            rows = _add_versions(session, model, signers)
            if model == NO_UPDATE_MODEL:
                _add_rollouts_without_effect(session, rows[1:], size.rollouts, devices)
            else:
                _add_rollout(session, rows[-1], [("everyone", 100)], "salt")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze devices"))


def add_version(
    session: Session, model: str, label: str, counter: int, signers: Signers, *, size: int = FULL_BYTES
) -> versions.VersionRow:
    """Insert a ready version with one variant of two components; the object store has none of their bytes.

    Args:
        session: open session.
        model: name of an existing model.
        label: label of the version.
        counter: counter of the version.
        signers: keys to sign the manifest with.
        size: size of the component that differs between versions, bytes.
    """
    components = _components(model, counter, size)
    now = datetime.now(UTC)
    manifest = Manifest(
        model=model,
        version=label,
        counter=counter,
        variants=[Variant(name="default", components=components)],
        issued=format_timestamp(now),
        expires=format_timestamp(now + timedelta(days=365)),
    )
    _add_blobs(session, components)
    row = versions.VersionRow(
        model=model,
        label=label,
        counter=counter,
        state="ready",
        created_by="testbed",
        manifest=manifest.sign([signers.publisher]),
        manifest_sha256=hashlib.sha256(manifest.to_bytes()).hexdigest(),
        ready_at=now,
        variants=[_variant_row(components)],
    )
    session.add(row)
    session.flush()
    return row


def _components(model: str, counter: int, size: int) -> list[Component]:
    """A component that is new in each version, and one that all versions share."""
    return [
        Component(name=name, path=f"{name}.bin", size=bytes_, sha256=_sha256(content))
        for name, bytes_, content in (
            ("backbone", size, f"{model}-{counter}"),
            ("tokenizer", TOKENIZER_BYTES, model),
        )
    ]


def _add_blobs(session: Session, components: Sequence[Component]) -> None:
    for component in components:
        if session.get(blobs.BlobRow, component.sha256) is None:
            session.add(blobs.BlobRow(sha256=component.sha256, size=component.size, stored=True))
            session.flush()


def _variant_row(components: Sequence[Component]) -> versions.VariantRow:
    return versions.VariantRow(
        name="default",
        selector={},
        components=[
            versions.ComponentRow(name=component.name, path=component.path, blob_sha256=component.sha256)
            for component in components
        ],
    )


def _add_devices(session: Session, size: DatasetSize, devices: Sequence[SyntheticDevice]) -> None:
    columns = {
        "ids": [device.id for device in devices],
        "keys": [device.key.public_key for device in devices],
    }
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
        {"rows": max(0, size.devices - len(devices))},
    )


def _add_cohorts(session: Session, size: DatasetSize) -> None:
    rules: dict[str, dict[str, Any] | None] = {
        **{f"c{index}": rule for index, rule in enumerate(COHORT_RULES)},
        "everyone": {},
        ID_LIST_COHORT: None,
    }
    session.add_all(cohorts.CohortRow(name=name, rule=rule) for name, rule in rules.items())
    session.flush()
    session.execute(
        text(
            """insert into cohort_members (cohort, device_id)
               select :cohort, 'row_' || i from generate_series(1, :listed) as i"""
        ),
        {"cohort": ID_LIST_COHORT, "listed": size.listed},
    )


def _add_versions(session: Session, model: str, signers: Signers) -> list[versions.VersionRow]:
    """Insert a model with its versions, and a patch from the first version to the last."""
    session.add(versions.ModelRow(name=model))
    session.flush()
    rows = [
        add_version(session, model, f"v{number}", number, signers) for number in range(1, VERSION_COUNT + 1)
    ]
    _add_patch(session, rows[0], rows[-1], signers)
    return rows


def _add_patch(
    session: Session, source: versions.VersionRow, target: versions.VersionRow, signers: Signers
) -> None:
    old, new = (row.variants[0].components[0].blob_sha256 for row in (source, target))
    patch_sha256 = _sha256(f"{old}{new}")
    descriptor = PatchDescriptor(
        format=GLP1,
        source=FileDigest(sha256=old, size=FULL_BYTES),
        target=FileDigest(sha256=new, size=FULL_BYTES),
        patch=FileDigest(sha256=patch_sha256, size=PATCH_BYTES),
        index_sha256=patch_sha256,
        working_set=8_000_000,
        issued=format_timestamp(datetime.now(UTC)),
    )
    session.add(
        patches.PatchRow(
            source_sha256=old,
            target_sha256=new,
            format=GLP1,
            state="ready",
            sha256=patch_sha256,
            size=descriptor.patch.size,
            working_set=descriptor.working_set,
            descriptor=descriptor.sign([signers.patcher]),
        )
    )


def _add_rollouts_without_effect(
    session: Session, offered: Sequence[versions.VersionRow], wanted: int, devices: Sequence[SyntheticDevice]
) -> None:
    """Insert rollouts that every poll must consider and that offer nothing to the synthetic devices."""
    names = [*(f"c{index}" for index in range(len(COHORT_RULES))), ID_LIST_COHORT]
    for index in range(wanted):
        first, second = names[index % len(names)], names[(index + 3) % len(names)]
        # Where a cohort contains synthetic devices, open a single bucket with none of them.
        percent = ONE_BUCKET_PERCENT if first in COHORTS_WITH_DEVICES else 25
        salt = _salt(index, percent, devices)
        _add_rollout(session, offered[index % len(offered)], [(first, percent), (second, 100)], salt)


def _salt(index: int, percent: float, devices: Sequence[SyntheticDevice]) -> str:
    """A rollout salt; for a one-bucket stage, the first one whose bucket contains no synthetic device."""
    if percent != ONE_BUCKET_PERCENT:
        return f"salt-{index}"
    salts = (f"salt-{index}-{number}" for number in count())
    return next(
        salt
        for salt in salts
        if not any(in_percent(salt, device.id, ONE_BUCKET_PERCENT) for device in devices)
    )


def _add_rollout(
    session: Session, version: versions.VersionRow, stages: Sequence[tuple[str, float]], salt: str
) -> None:
    """Insert a running rollout; `stages` are (cohort, percent)."""
    row = rollouts.RolloutRow(
        id=uuid4(),
        model=version.model,
        version_id=version.id,
        name=f"{version.model}-{salt}",
        state="running",
        salt=salt,
        stage=0,
        stage_since=datetime.now(UTC),
        created_by="testbed",
        started_at=datetime.now(UTC),
        stages=[
            rollouts.StageRow(ordinal=ordinal, cohort=cohort, percent=percent)
            for ordinal, (cohort, percent) in enumerate(stages)
        ],
    )
    session.add(row)
    session.flush()


def _sha256(text_: str) -> str:
    return hashlib.sha256(text_.encode()).hexdigest()
