from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from service.infrastructure import database
from service.operations.platform import audit

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def record(engine, number):
    with database.transaction(engine) as session:
        audit.record(
            session,
            actor="a",
            verb="v",
            subject=f"s{number}",
            now=NOW,
            detail={"n": number, "text": "ü\u2028"},
        )


def chain(engine):
    with database.read_only(engine) as session:
        return audit.list_entries(session, after=0)


def broken_links(rows):
    """Entries whose hash does not match their content and the previous hash."""
    previous = "0" * 64
    broken = []
    for row in rows:
        if row.previous_hash != previous or row.hash != audit.entry_hash(row):
            broken.append(row.id)
        previous = row.hash
    return broken


def test_concurrent_entries_form_one_chain(engine):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(engine, number), range(24)))
    rows = chain(engine)
    assert {row.subject for row in rows} == {f"s{number}" for number in range(24)}
    assert broken_links(rows) == []


def test_a_changed_or_missing_entry_is_detected(engine):
    for number in range(5):
        record(engine, number)
    with database.transaction(engine) as session:
        rows = audit.list_entries(session, after=0)
        rows[1].actor = "somebody else"
        session.delete(rows[3])
        changed, behind_the_gap = rows[1].id, rows[4].id
    assert broken_links(chain(engine)) == [changed, behind_the_gap]


def record_in_vain(engine):
    with database.transaction(engine) as session:
        audit.record(session, actor="a", verb="v", subject="s", now=NOW)
        raise LookupError


def test_an_entry_is_rolled_back_with_the_change_that_it_describes(engine):
    with pytest.raises(LookupError):
        record_in_vain(engine)
    assert chain(engine) == []


@pytest.mark.parametrize("number", [1.0, 1e16, 1e23, -2.5e17, 1e-7, -0.0, 0.1, 10**20])
def test_numbers_that_postgres_rewrites_do_not_break_the_chain(engine, number):
    with database.transaction(engine) as session:
        audit.record(
            session,
            actor="a",
            verb="v",
            subject="s",
            now=NOW,
            detail={"rule": [{"gte": number}], "n": number},
        )
    assert broken_links(chain(engine)) == []
