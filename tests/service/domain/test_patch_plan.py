from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.patch_plan import Base, File, Pair, plan


def file(name, digest, size=100):
    return File(name, digest, size)


def base(label, *files, devices=0):
    return Base(label, files, devices)


NEW = [file("backbone", "b3", 4000), file("tokenizer", "t3", 10)]


def test_a_component_is_patched_from_the_one_of_the_same_name():
    assert plan(NEW, [base("v2", file("backbone", "b2"), file("tokenizer", "t2"))], limit=3) == [
        Pair("b2", "b3"),
        Pair("t2", "t3"),
    ]


def test_a_build_is_patched_from_the_same_build_and_only_without_one_from_another():
    int4, int8 = File("backbone", "n4", 50, "int4"), File("backbone", "n8", 100, "int8")
    both = base("v2", File("backbone", "o4", 50, "int4"), File("backbone", "o8", 100, "int8"))
    assert set(plan([int4, int8], [both], limit=1)) == {Pair("o4", "n4"), Pair("o8", "n8")}
    one = base("v1", File("backbone", "o8", 100, "int8"))
    assert set(plan([int4, int8], [one], limit=1)) == {Pair("o8", "n4"), Pair("o8", "n8")}


def test_an_unchanged_component_needs_no_patch():
    assert plan(NEW, [base("v2", file("backbone", "b2"), file("tokenizer", "t3"))], limit=3) == [
        Pair("b2", "b3")
    ]


def test_bytes_that_a_device_holds_under_another_name_need_no_patch():
    assert (
        plan([file("vision", "b2")], [base("v2", file("backbone", "b2"), file("vision", "x"))], limit=3) == []
    )


def test_a_component_without_a_forerunner_gets_no_patch():
    assert plan([file("audio", "a1")], [base("v2", file("backbone", "b2"))], limit=3) == []


def test_the_first_version_of_all_has_nothing_to_be_patched_from():
    assert plan(NEW, [], limit=3) == []


def test_the_pair_that_saves_most_bytes_comes_first():
    few, many = base("v2", file("backbone", "b2"), devices=1), base("v1", file("backbone", "b1"), devices=900)
    assert plan(NEW, [few, many], limit=3)[0] == Pair("b1", "b3")


def test_only_the_versions_with_most_devices_get_patches_and_the_newest():
    bases = [base(f"v{n}", file("backbone", f"b-{n}"), devices=n) for n in range(6)]
    assert {pair.source for pair in plan(NEW[:1], bases, limit=3)} == {"b-0", "b-5", "b-4"}


def test_the_newest_does_not_take_two_places():
    bases = [base(f"v{n}", file("backbone", f"b-{n}"), devices=10 - n) for n in range(4)]
    assert {pair.source for pair in plan(NEW[:1], bases, limit=3)} == {"b-0", "b-1", "b-2"}


def test_no_base_is_wanted_where_none_is_allowed():
    assert plan(NEW, [base("v2", file("backbone", "b2"))], limit=0) == []


FILES = st.lists(
    st.builds(
        File, st.sampled_from(["a", "b", "c"]), st.text("xyz", min_size=1, max_size=2), st.integers(0, 10**9)
    ),
    max_size=4,
)
BASES = st.lists(st.builds(Base, st.just("v"), FILES, st.integers(0, 10**6)), max_size=5)


@given(FILES, BASES, st.integers(0, 6))
@settings(deadline=None)
def test_a_plan_is_without_repetition_and_leads_from_old_bytes_to_new_ones(target, bases, limit):
    pairs = plan(target, bases, limit=limit)
    assert len(set(pairs)) == len(pairs)
    assert all(pair.source != pair.target for pair in pairs)
    assert {pair.target for pair in pairs} <= {item.sha256 for item in target}
    assert {pair.source for pair in pairs} <= {item.sha256 for held in bases for item in held.files}


@given(FILES, BASES, st.integers(0, 6))
@settings(deadline=None)
def test_a_wider_limit_never_takes_a_patch_away(target, bases, limit):
    assert set(plan(target, bases, limit=limit)) <= set(plan(target, bases, limit=limit + 1))
