from datetime import UTC, datetime

import pytest

from service.cli.platform.audit import PAGE_SIZE
from service.infrastructure import database
from service.operations.platform import audit
from tests.service.support import actors
from tests.service.support.actors import cohort


@pytest.fixture
def log(graylag):
    """An audit log with five more entries."""
    for number in range(5):
        cohort(graylag.live, f"c{number}", {"attr": "ram_mb", "gte": 1.5e20})
    return graylag


def entries(log):
    return actors.rows(log.live, "select id, hash from audit_log order by id")


def test_an_unchanged_log_is_valid_and_its_head_is_printed(log):
    found = log.json("audit", "verify")
    rows = entries(log)
    assert found == {
        "valid": True,
        "entries": len(rows),
        "head": rows[-1]["hash"],
        "fault": None,
        "expected_found": None,
    }
    assert rows[-1]["hash"] in log("audit", "verify", scope="viewer")


@pytest.mark.parametrize(
    "change",
    [
        "update audit_log set actor = 'somebody else' where id = :id",
        "update audit_log set at = at + interval '1 microsecond' where id = :id",
        "update audit_log set detail = '{}' where id = :id",
        "delete from audit_log where id = :id - 1",
    ],
)
def test_a_changed_or_deleted_row_is_found_and_named(log, change):
    middle = entries(log)[-3]["id"]
    actors.write(log.live, change, id=middle)
    found = log.json("audit", "verify", status=1)
    assert (found["valid"], found["fault"]["id"]) == (False, middle)
    assert f"entry {middle} is invalid" in log("audit", "verify", status=1)


def test_entries_cut_off_at_the_end_are_found_by_an_earlier_head(log):
    kept = log.json("audit", "verify")["head"]
    cohort(log.live, "later")
    assert log.json("audit", "verify", "--expect", kept)["expected_found"] is True
    actors.write(
        log.live, "delete from audit_log where id >= (select id from audit_log where hash = :h)", h=kept
    )
    assert log.json("audit", "verify")["valid"]
    assert "cut off" in log("audit", "verify", "--expect", kept, status=1)


def test_a_log_of_several_pages_is_verified_to_its_end(log):
    now = datetime.now(UTC)
    with database.transaction(log.live.engine) as session:
        for number in range(PAGE_SIZE):
            audit.record(session, actor="a", verb="v", subject=f"s{number}", now=now)
    assert log.json("audit", "verify")["entries"] == len(entries(log))


def test_the_newest_entries_and_the_entries_about_one_subject_are_listed(log):
    newest = log.json("audit", "list", "--limit", 2)
    assert [entry["subject"] for entry in newest] == ["cohort:c3", "cohort:c4"]
    about = log.json("audit", "list", "--subject", "cohort:c1")
    assert [entry["verb"] for entry in about] == ["cohort.put"]
    assert "cohort:c4" in log("audit", "list")
