from bisect import bisect_right
from datetime import UTC, datetime

from service.domain.fleet.grouping import ABSENT, UNMATCHED, Grouping, grouping_for
from service.domain.targeting.buckets import bucket
from service.infrastructure import database
from service.store.fleet import groups
from tests.service.support.actors import write

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ALL = 10**6


def devices(live, count, attributes="{}"):
    write(
        live,
        "insert into devices (id, status, attributes)"
        " select 'dev:' || n || '@x', 'accepted', cast(:a as jsonb) from generate_series(1, :count) n",
        count=count,
        a=attributes,
    )


def counted(live, seen, limit=ALL):
    with database.read_only(live.engine) as session:
        return groups.count_groups(session, seen, model=None, silent_since=NOW, limit=limit)


def test_sql_and_python_compute_the_same_bucket(live):
    devices(live, 400)
    places = {f"dev:{n}@x": bucket("sälz", f"dev:{n}@x") for n in range(1, 401)}
    cuts = tuple(sorted(set(places.values()) - {0}))
    with database.read_only(live.engine) as session:
        seen = Grouping(bucket_bounds=(("sälz", cuts),))
        found = groups.count_groups(session, seen, model=None, silent_since=NOW)
        assert len(found.groups) > 100
        for group in found.groups:
            members = groups.first_ids(session, seen, [group], model=None, limit=400)
            assert {bisect_right(cuts, places[member]) for member in members} == {group.bands[0]}


def test_a_missing_attribute_differs_from_a_value_that_no_rule_uses(live):
    devices(live, 1)
    write(live, "insert into devices (id, status, attributes) values ('b', 'accepted', '{\"a\": \"x\"}')")
    write(live, "insert into devices (id, status, attributes) values ('c', 'accepted', '{\"a\": \"eu\"}')")
    found = counted(live, grouping_for([{"attr": "a", "in": ["eu", "us"]}], {}))
    assert {group.example: group.codes for group in found.groups} == {
        "dev:1@x": (ABSENT,),
        "b": (UNMATCHED,),
        "c": (0,),
    }


def test_a_number_equal_to_the_absent_code_is_not_absent(live):
    devices(live, 1, '{"a": -2}')
    found = counted(live, grouping_for([{"attr": "a", "semver": ">1"}, {"attr": "a", "eq": -2}], {}))
    assert [group.codes for group in found.groups] == [("-2",)]


def test_devices_in_groups_beyond_the_limit_are_counted(live):
    for value in range(5):
        write(
            live,
            "insert into devices (id, status, attributes) values (:id, 'accepted', cast(:a as jsonb))",
            id=f"d{value}",
            a=f'{{"a": "{value}.0.0"}}',
        )
    found = counted(live, grouping_for([{"attr": "a", "semver": ">1"}], {}), limit=3)
    assert (len(found.groups), found.uncounted) == (3, 2)
