import random

from tests.service.support import actors

MANY = 100_000


def test_a_hundred_thousand_ids_are_read_from_a_file_and_replaced_by_a_similar_list(graylag, tmp_path):
    ids = [f"device-{number:08}" for number in range(MANY)]
    random.Random(3).shuffle(ids)
    file = tmp_path / "ids.txt"
    file.write_text("\n".join([*ids, ids[0], ""]))
    assert f"{MANY:,} listed" in graylag("cohort", "put", "many", "--devices", file)
    file.write_text("\n".join([*ids[10:], "one-more"]))
    assert graylag.json("cohort", "put", "many", "--devices", file)["listed_devices"] == MANY - 9
    listed = {row["device_id"] for row in actors.rows(graylag.live, "select device_id from cohort_members")}
    assert listed == {*ids[10:], "one-more"}


def test_an_invalid_id_is_rejected_with_its_position(graylag, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("d1\nd2\nno/device\n")
    assert "(devices.2) [invalid]" in graylag("cohort", "put", "few", "--devices", file, status=1)


def test_a_cohort_without_rule_and_devices_is_rejected(graylag):
    assert "use --rule, --devices, or both" in graylag("cohort", "put", "few", status=1)


def test_cohorts_are_listed_shown_and_deleted(graylag):
    rule = '{"attr": "group", "eq": "beta"}'
    graylag("cohort", "put", "beta", "--rule", rule, "--description", "volunteers")
    assert "volunteers" in graylag("cohort", "list")
    assert [cohort["name"] for cohort in graylag.json("cohort", "list")] == ["beta"]
    assert '"group"' in graylag("cohort", "show", "beta")
    assert graylag("cohort", "delete", "beta").strip() == "cohort beta is deleted"
    assert graylag.json("cohort", "list") == []
