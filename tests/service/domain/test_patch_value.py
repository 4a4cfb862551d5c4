from hypothesis import given
from hypothesis import strategies as st

from service.domain.patch_plan import Base, File, Pair
from service.domain.patch_value import Demand, Made, unused, weigh

TARGET = [File("backbone", "b9", 1000)]


def base(label, digest, devices=0):
    return Base(label, [File("backbone", digest, 1000)], devices)


def plan(bases, made=(), asked=(), *, limit=10, target=TARGET):
    pairs = {Pair(source, "b9"): Made(*more) for source, *more in made}
    wishes = {Pair(source, "b9"): count for source, count in asked}
    return weigh(target, bases, Demand(pairs, wishes), limit=limit)


def told(entries):
    return [(entry.pair.source, entry.why) for entry in entries]


def test_the_pair_that_spares_most_bytes_comes_first():
    found = plan([base("v1", "b1", 10), base("v2", "b2", 500)])
    assert told(found) == [("b2", "census"), ("b1", "census")]
    assert [entry.saved for entry in found] == [500 * 700, 10 * 700]


def test_what_is_saved_is_reckoned_from_the_real_patches_once_there_are_some():
    found = plan([base("v1", "b1", 10), base("v2", "b2", 10)], made=[("b1", "ready", 100)])
    assert [(entry.patch_size, entry.estimated) for entry in found] == [(100, False), (100, True)]


def test_a_base_that_nobody_runs_gets_no_patch_and_one_that_few_run_when_a_poll_misses_it():
    bases = [base("v1", "b1", 0), base("v2", "b2", 1), base("v3", "b3", 999)]
    assert told(plan(bases)) == [("b3", "census"), ("b2", "few"), ("b1", "nobody")]
    assert dict(told(plan(bases, asked=[("b2", 3)])))["b2"] == "asked"
    assert dict(told(plan(bases, asked=[("b1", 1)])))["b1"] == "asked"


def test_a_pair_that_polls_miss_is_planned_whatever_version_its_source_is_of():
    (entry,) = plan([], asked=[("elsewhere", 2)])
    assert (entry.pair.source, entry.bases, entry.why) == ("elsewhere", (), "asked")


def test_versions_that_share_a_file_share_its_patch():
    (entry,) = plan([base("v1", "same", 4), base("v2", "same", 6)])
    assert (entry.bases, entry.devices) == (("v1", "v2"), 10)


def test_what_has_been_made_or_has_come_to_nothing_is_not_asked_for_again():
    bases = [base(f"v{n}", f"b{n}", 10) for n in range(5)]
    states = [
        ("b0", "ready", 5),
        ("b1", "queued"),
        ("b2", "not_worth_it", 990),
        ("b3", "failed"),
        ("b4", "retired"),
    ]
    assert dict(told(plan(bases, made=states))) == {
        "b0": "made",
        "b1": "being_made",
        "b2": "not_worth_it",
        "b3": "failed",
        "b4": "census",
    }


def test_a_limit_bounds_what_is_made_and_the_most_valuable_have_the_room():
    bases = [base(f"v{n}", f"b{n}", 100 + n) for n in range(5)]
    found = plan(bases, made=[("b0", "failed")], limit=3)
    assert told(found) == [
        ("b4", "census"),
        ("b3", "census"),
        ("b2", "limit"),
        ("b1", "limit"),
        ("b0", "failed"),
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1000)), max_size=8),
    st.dictionaries(
        st.sampled_from("abcdef"), st.sampled_from(["ready", "queued", "failed", "retired", "not_worth_it"])
    ),
    st.integers(0, 6),
)
def test_never_more_than_the_limit_is_wanted_and_never_the_same_pair_twice(bases, states, limit):
    found = plan(
        [base(f"v{n}", source, devices) for n, (source, devices) in enumerate(bases)],
        made=[(source, state) for source, state in states.items()],
        limit=limit,
    )
    tried = sum(entry.state in ("ready", "queued", "failed", "not_worth_it") for entry in found)
    assert sum(entry.wanted for entry in found) <= max(0, limit - tried)
    assert len({entry.pair for entry in found}) == len(found)
    assert [entry.saved for entry in found] == sorted((entry.saved for entry in found), reverse=True)


def test_a_patch_is_of_no_use_only_when_nobody_has_its_source_and_nobody_is_offered_its_target():
    patch = Pair("old", "new")

    def gone(run=(), offered=(), under_way=()):
        return unused([patch], run=set(run), offered=set(offered), under_way=set(under_way)) == [patch]

    assert gone()
    assert not gone(run=["old"])
    assert not gone(offered=["new"])
    assert not gone(under_way=["new"])
    assert not gone(offered=["old"]), "the way back of a rollback starts from what is on offer"
    assert gone(run=["new"])
