import pytest

from service.domain.overlap import apart

CN = {"attr": "region", "eq": "cn"}
EU = {"attr": "region", "in": ["eu", "uk"]}


def both(*rules):
    return {"all": list(rules)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CN, EU),
        (both(CN, {"attr": "ram_mb", "gte": 8}), both({"attr": "os", "eq": "linux"}, EU)),
        (both(both(CN)), EU),
        ({"attr": "beta", "eq": True}, {"attr": "beta", "eq": 1}),
        (both(EU, {"attr": "region", "eq": "uk"}), {"attr": "region", "eq": "eu"}),
    ],
)
def test_cohorts_that_ask_for_different_values_share_no_device(one, other):
    assert apart(one, other)
    assert apart(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, CN),
        (CN, CN),
        (CN, {"attr": "region", "in": ["cn", "eu"]}),
        (CN, {"attr": "os", "eq": "linux"}),
        (CN, {"not": CN}),
        (CN, {"any": [EU, {"attr": "os", "eq": "linux"}]}),
        (CN, {"cohort": "internal"}),
        ({"attr": "ram_mb", "lt": 8}, {"attr": "ram_mb", "gte": 8}),
        (CN, {"attr": "region", "prefix": "eu"}),
    ],
)
def test_what_cannot_be_told_apart_may_overlap(one, other):
    assert not apart(one, other)
    assert not apart(other, one)
