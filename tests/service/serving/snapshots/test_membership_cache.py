"""The cache of explicit cohort lists."""

from service.infrastructure import database
from service.serving.snapshots.membership_cache import MembershipCache
from tests.service.support.actors import cohort, write


def read(live, cache):
    with database.read_only(live.engine) as session:
        return cache.read(session)


def test_a_list_is_read_again_only_when_it_has_changed(live):
    cache = MembershipCache()
    cohort(live, "many", devices=[f"d{number}" for number in range(500)])
    cohort(live, "few", devices=["d1", "d2"])
    first = read(live, cache)
    assert (len(first["many"]), first["few"]) == (500, {"d1", "d2"})
    # Another list of the same length.
    cohort(live, "few", devices=["d1", "d3"])
    second = read(live, cache)
    assert second["few"] == {"d1", "d3"}
    assert second["many"] is first["many"]


def test_a_deleted_list_is_dropped_from_the_cache(live):
    cache = MembershipCache()
    cohort(live, "few", devices=["d1"])
    assert read(live, cache) == {"few": {"d1"}}
    write(live, "delete from cohort_members")
    assert read(live, cache) == {}
