import pytest

from tests.service.support import actors

SEED = """
insert into models (name) values ('m');
insert into blobs (sha256, size) values ('a', 1), ('b', 1);
insert into versions (model, label, counter, state, created_by) values ('m', 'v1', 1, 'ready', 'x');
insert into variants (version_id, name, selector) select id, 'default', '{}' from versions;
insert into components (variant_id, name, path, blob_sha256) select id, 'w', 'w', 'a' from variants;
insert into patches (source_sha256, target_sha256, format, state) values ('a', 'b', 'glp1', 'queued');
insert into cohorts (name) values ('c');
insert into cohort_members values ('c', 'd1');
insert into rollouts (id, model, version_id, name, state, salt, created_by)
  select gen_random_uuid(), 'm', id, 'r', 'draft', 's', 'x' from versions;
insert into stages (rollout_id, ordinal, cohort, percent) select id, 0, 'c', 1 from rollouts;
insert into trust_bundles (version, envelope) values (99, '');
insert into devices (id, public_key, status) values ('d1', '', 'accepted');
"""
MOVING = [
    "update models set disabled = true",
    "update versions set state = 'revoked'",
    "update versions set barrier = true",
    "update variants set priority = 1",
    "update components set name = 'x'",
    "update patches set state = 'ready'",
    "update cohorts set rule = '{}'",
    "insert into cohort_members values ('c', 'd2')",
    "delete from cohort_members",
    "truncate cohort_members",
    "update rollouts set state = 'running'",
    "update stages set percent = 2",
    "update trust_bundles set envelope = 'x'",
    "update devices set status = 'suspended'",
    "update devices set admin_attributes = '{\"a\": 1}'",
]
STILL = [
    "update devices set seen_at = now(), attributes = '{\"a\": 1}'",
    "insert into devices (id, public_key, status) values ('d2', '', 'accepted')",
    "insert into installations (device_id, model, seen_at) values ('d1', 'm', now())",
]


def epoch(live):
    return actors.rows(live, "select value from serving_epoch")[0]["value"]


@pytest.fixture
def seeded(live):
    for statement in SEED.strip().split(";\n"):
        actors.write(live, statement.rstrip(";"))
    return live


def test_changes_that_affect_polls_increment_the_epoch(seeded):
    for statement in MOVING:
        before = epoch(seeded)
        actors.write(seeded, statement)
        assert epoch(seeded) > before, statement


def test_check_ins_and_reports_do_not_increment_the_epoch(seeded):
    before = epoch(seeded)
    for statement in STILL:
        actors.write(seeded, statement)
        assert epoch(seeded) == before, statement


def test_the_epoch_is_not_visible_before_the_change_that_it_announces(seeded):
    before = epoch(seeded)
    with seeded.engine.connect() as writer:
        writer.exec_driver_sql("update models set disabled = true")
        assert epoch(seeded) == before
        writer.rollback()
    assert epoch(seeded) == before
