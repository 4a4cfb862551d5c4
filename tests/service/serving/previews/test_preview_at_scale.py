"""A preview of a fleet that the database generates: 20,000 devices, or `GRAYLAG_FLEET`.

The duration is printed, not asserted: `pytest -s`.
"""

import os
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from service.infrastructure import database
from service.operations.fleet import cohorts
from service.operations.rollouts import drafts
from service.operations.rollouts.drafts import RolloutDeclaration, StageDeclaration
from service.serving.previews import preview
from service.serving.snapshots.loader import load_snapshot

FLEET = int(os.environ.get("GRAYLAG_FLEET", "20000"))
NOW = datetime.now(UTC)

DEVICES = """
insert into devices (id, status, attributes, seen_at)
select 'device-' || lpad(n::text, 8, '0'),
  case when n % 500 = 0 then 'suspended' else 'accepted' end,
  jsonb_build_object(
    'region', (array['cn-east', 'cn-north', 'eu', 'us', 'in', 'br', 'jp', 'kr'])[1 + (n * 7) % 8],
    'ram_mb', 2000 + (n * 7919) % 14000, 'soc', 'soc-' || (n * 31) % 40, 'os', 'android-' || 10 + n % 6,
    'app_version', (4 + n % 3) || '.' || (n * 13) % 40 || '.0',
    'user_group', case when n % 1000 = 7 then 'internal' else 'public' end),
  now() - make_interval(hours => (n % 300)::int)
from generate_series(1::bigint, :fleet) n
"""
INSTALLATIONS = """
insert into installations (device_id, model, version, seen_at)
select id, 'phone', 'v' || 1 + right(id, 3)::int % 4, seen_at from devices where right(id, 2) <> '13'
"""
VERSIONS = """
insert into models (name) values ('phone');
insert into blobs (sha256, size, stored)
  select rpad(b || n, 64, '0'), case b when 'a' then 4000000000 else 2000000000 end, true
  from generate_series(1, 5) n, unnest(array['a', 'b']) b;
insert into versions (model, label, counter, state, created_by, manifest, manifest_sha256, ready_at)
  select 'phone', 'v' || n, n, 'ready', 'x', '\\x00', 'v' || n, now() from generate_series(1, 5) n;
insert into variants (version_id, name, selector, priority)
  select id, 'int8', '{"attr": "ram_mb", "gte": 8192}'::jsonb, 10 from versions union all
  select id, 'int4', '{}'::jsonb, 0 from versions;
insert into components (variant_id, name, path, blob_sha256)
  select variants.id, 'w', 'w', rpad(case variants.name when 'int8' then 'a' else 'b' end || counter, 64, '0')
  from variants join versions on versions.id = version_id;
insert into patches (source_sha256, target_sha256, format, state, sha256, size, working_set, descriptor)
  select rpad(b || n, 64, '0'), rpad(b || 5, 64, '0'), 'glp1', 'ready', rpad(b || n, 64, '0'), 300000000, 4000000, '\\x00'
  from generate_series(3, 4) n, unnest(array['a', 'b']) b
"""
BETA = {
    "all": [
        {"attr": "region", "in": ["cn-east", "eu"]},
        {"attr": "app_version", "semver": ">=5.2"},
        {"any": [{"cohort": "testers"}, {"attr": "os", "prefix": "android-1"}]},
    ]
}
AUTUMN = RolloutDeclaration(
    name="autumn",
    model="phone",
    version="v5",
    stages=[
        StageDeclaration("internal", 100, {"minutes": 60, "reports": 20}),
        StageDeclaration("beta", 10, {"reports": 1000}),
        StageDeclaration("everyone", 10),
        StageDeclaration("everyone", 100),
    ],
    policy={"pacing": {"max_bytes_per_hour": 10**13}, "holdout_percent": 2},
)


def create_fleet(engine, fleet):
    """Devices, versions, patches and cohorts, one of them by an explicit list of a tenth of the fleet."""
    with database.transaction(engine) as session:
        # A million rows on a busy machine take longer than any request may.
        session.execute(text("set local statement_timeout = 0"))
        for statement in [*VERSIONS.split(";\n"), DEVICES, INSTALLATIONS]:
            session.execute(text(statement), {"fleet": fleet} if ":fleet" in statement else {})
        testers = [f"device-{n:08}" for n in range(10, fleet, 10)][:100_000]
        rules = {
            "everyone": {},
            "internal": {"attr": "user_group", "eq": "internal"},
            "testers": None,
            "beta": BETA,
        }
        for name, rule in rules.items():
            listed = testers if rule is None else None
            cohorts.put(session, cohorts.CohortDeclaration(name, rule, listed), actor="x", now=NOW)
    with database.transaction(engine) as session:
        session.execute(text("analyze"))


def run_preview(engine):
    """The preview of `AUTUMN`, and how many seconds it took."""
    with database.read_only(engine) as session:
        snapshot = load_snapshot(session)
        started = time.perf_counter()
        row = drafts.build_row(session, AUTUMN, actor="x", now=NOW)
        settings = preview.PreviewSettings(timedelta(hours=6), timedelta(minutes=10))
        found = preview.preview(session, snapshot, row, now=NOW, settings=settings, listed_devices=100)
        return found, time.perf_counter() - started


@pytest.mark.timeout(900)
def test_every_device_of_a_large_fleet_is_counted_once(engine):
    create_fleet(engine, FLEET)
    found, seconds = run_preview(engine)
    sys.stdout.write(f"\npreview over {FLEET} devices: {seconds:.2f} s\n")
    fleet = found["fleet"]
    assert fleet["devices"] + fleet["never_polled"] == FLEET
    assert fleet["reached"] + sum(fleet["excluded"].values()) == fleet["devices"]
    assert fleet["uncounted"] == 0
    assert fleet["excluded"]["suspended"] == pytest.approx(FLEET / 500, rel=0.1)
    assert fleet["excluded"]["in_holdout"] == pytest.approx(FLEET * 0.02, rel=0.2)
    assert len(found["devices"]) == min(found["stages"][0]["devices"], 100)
    assert found["stages"][-1]["cumulative_devices"] == fleet["reached"]
    assert found["download"]["p95_bytes"] == 4_000_000_000
    assert set(found["stages"][-1]["paths"]) == {"patch", "full"}
