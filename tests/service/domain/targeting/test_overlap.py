import pytest

from service.domain.targeting.overlap import disjoint

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
def test_rules_for_different_values_are_disjoint(one, other):
    assert disjoint(one, other)
    assert disjoint(other, one)


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
def test_other_rules_may_overlap(one, other):
    assert not disjoint(one, other)
    assert not disjoint(other, one)
