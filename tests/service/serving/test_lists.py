from service import database
from service.serving.lists import Lists
from tests.service.actors import cohort, write


def read(live, lists):
    with database.read_only(live.engine) as session:
        return lists.read(session)


def test_a_list_is_read_again_only_when_it_has_changed(live):
    lists = Lists()
    cohort(live, "many", devices=[f"d{number}" for number in range(500)])
    cohort(live, "few", devices=["d1", "d2"])
    first = read(live, lists)
    assert (len(first["many"]), first["few"]) == (500, {"d1", "d2"})
    # As long as the first list, and other ids.
    cohort(live, "few", devices=["d1", "d3"])
    second = read(live, lists)
    assert second["few"] == {"d1", "d3"}
    assert second["many"] is first["many"]


def test_a_list_that_is_gone_is_forgotten(live):
    lists = Lists()
    cohort(live, "few", devices=["d1"])
    assert read(live, lists) == {"few": {"d1"}}
    write(live, "delete from cohort_members")
    assert read(live, lists) == {}
