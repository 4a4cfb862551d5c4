import random

from tests.service import actors

MANY = 100_000


def test_a_hundred_thousand_ids_are_listed_from_a_file_and_changed_by_a_few(graylag, tmp_path):
    ids = [f"device-{number:08}" for number in range(MANY)]
    random.Random(3).shuffle(ids)
    file = tmp_path / "ids.txt"
    file.write_text("\n".join([*ids, ids[0], ""]))
    assert f"{MANY:,} listed" in graylag("cohort", "put", "many", "--devices", file)
    file.write_text("\n".join([*ids[10:], "one-more"]))
    assert graylag.json("cohort", "put", "many", "--devices", file)["listed"] == MANY - 9
    listed = {row["device_id"] for row in actors.rows(graylag.live, "select device_id from cohort_members")}
    assert listed == {*ids[10:], "one-more"}


def test_an_id_that_none_can_have_is_refused_at_its_place(graylag, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("d1\nd2\nno/device\n")
    assert "(devices.2) [invalid]" in graylag("cohort", "put", "few", "--devices", file, status=1)
    assert "who is in it?" in graylag("cohort", "put", "few", status=1)


def test_cohorts_are_shown_listed_and_removed(graylag):
    graylag(
        "cohort", "put", "beta", "--rule", '{"attr": "group", "eq": "beta"}', "--description", "the brave"
    )
    assert "the brave" in graylag("cohort", "list")
    assert [cohort["name"] for cohort in graylag.json("cohort", "list")] == ["beta"]
    assert '"group"' in graylag("cohort", "show", "beta")
    graylag("cohort", "remove", "beta")
    assert graylag.json("cohort", "list") == []
