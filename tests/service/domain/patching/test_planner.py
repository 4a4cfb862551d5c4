from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.patching.candidates import (
    BuildState,
    ComponentFile,
    PatchDemand,
    PatchPair,
    SourceVersion,
)
from service.domain.patching.planner import initial_pairs, rank_patches, unused_patches

TARGET = [ComponentFile("backbone", "b9", 1000)]
NEW = [ComponentFile("backbone", "b3", 4000), ComponentFile("tokenizer", "t3", 10)]


def source(label, *files, devices=0):
    return SourceVersion(label, [ComponentFile(name, digest, 1000) for name, digest in files], devices)


def backbone(label, digest, devices=0):
    return source(label, ("backbone", digest), devices=devices)


def rank(sources, built=(), requested=(), *, limit=10, target=TARGET):
    states = {PatchPair(digest, "b9"): BuildState(*more) for digest, *more in built}
    requests = {PatchPair(digest, "b9"): count for digest, count in requested}
    return rank_patches(target, sources, PatchDemand(states, requests), limit=limit)


def reasons(candidates):
    return [(candidate.pair.source, candidate.reason) for candidate in candidates]


# --- which pairs there are ------------------------------------------------------------------------


def test_a_component_is_patched_from_the_component_of_the_same_name():
    old = source("v2", ("backbone", "b2"), ("tokenizer", "t2"), devices=1)
    assert initial_pairs(NEW, [old], limit=3) == [PatchPair("b2", "b3"), PatchPair("t2", "t3")]


def test_a_variant_is_patched_from_another_variant_only_if_its_own_is_missing():
    int4, int8 = ComponentFile("backbone", "n4", 50, "int4"), ComponentFile("backbone", "n8", 100, "int8")
    old4, old8 = ComponentFile("backbone", "o4", 50, "int4"), ComponentFile("backbone", "o8", 100, "int8")
    both, one = SourceVersion("v2", [old4, old8], 0), SourceVersion("v1", [old8], 0)
    assert set(initial_pairs([int4, int8], [both], limit=1)) == {
        PatchPair("o4", "n4"),
        PatchPair("o8", "n8"),
    }
    assert set(initial_pairs([int4, int8], [one], limit=1)) == {PatchPair("o8", "n4"), PatchPair("o8", "n8")}


def test_an_unchanged_component_needs_no_patch():
    old = source("v2", ("backbone", "b2"), ("tokenizer", "t3"))
    assert initial_pairs(NEW, [old], limit=3) == [PatchPair("b2", "b3")]


def test_a_file_that_devices_have_under_another_name_needs_no_patch():
    old = source("v2", ("backbone", "b2"), ("vision", "x"))
    assert initial_pairs([ComponentFile("vision", "b2", 100)], [old], limit=3) == []


def test_a_new_component_gets_no_patch():
    assert initial_pairs([ComponentFile("audio", "a1", 100)], [backbone("v2", "b2")], limit=3) == []


def test_versions_that_share_a_file_share_its_patch():
    (candidate,) = rank([backbone("v1", "same", 4), backbone("v2", "same", 6)])
    assert (candidate.source_versions, candidate.devices) == (("v1", "v2"), 10)


def test_a_requested_pair_is_planned_whatever_version_its_source_belongs_to():
    (candidate,) = rank([], requested=[("elsewhere", 2)])
    assert (candidate.pair.source, candidate.source_versions, candidate.reason) == (
        "elsewhere",
        (),
        "requested",
    )


# --- when a version becomes ready -----------------------------------------------------------------


def test_the_first_version_gets_no_patches():
    assert initial_pairs(NEW, [], limit=3) == []


def test_the_initial_pair_that_saves_the_most_bytes_comes_first():
    few, many = backbone("v2", "b2", 1), backbone("v1", "b1", 900)
    assert initial_pairs(NEW, [few, many], limit=3)[0] == PatchPair("b1", "b3")


def test_the_initial_sources_are_the_newest_version_and_those_with_the_most_devices():
    sources = [backbone(f"v{n}", f"b-{n}", n) for n in range(6)]
    assert {pair.source for pair in initial_pairs(NEW[:1], sources, limit=3)} == {"b-0", "b-5", "b-4"}


def test_the_newest_version_counts_once():
    sources = [backbone(f"v{n}", f"b-{n}", 10 - n) for n in range(4)]
    assert {pair.source for pair in initial_pairs(NEW[:1], sources, limit=3)} == {"b-0", "b-1", "b-2"}


def test_a_limit_of_zero_gives_no_initial_pairs():
    assert initial_pairs(NEW, [backbone("v2", "b2")], limit=0) == []


any_files = st.lists(
    st.builds(
        ComponentFile,
        st.sampled_from(["a", "b", "c"]),
        st.text("xyz", min_size=1, max_size=2),
        st.integers(0, 10**9),
    ),
    max_size=4,
)
any_sources = st.lists(st.builds(SourceVersion, st.just("v"), any_files, st.integers(0, 10**6)), max_size=5)


@given(any_files, any_sources, st.integers(0, 6))
@settings(deadline=None)
def test_initial_pairs_are_unique_and_lead_from_old_files_to_new_files(target, sources, limit):
    pairs = initial_pairs(target, sources, limit=limit)
    assert len(set(pairs)) == len(pairs)
    assert all(pair.source != pair.target for pair in pairs)
    assert {pair.target for pair in pairs} <= {file.sha256 for file in target}
    assert {pair.source for pair in pairs} <= {file.sha256 for old in sources for file in old.files}


@given(any_files, any_sources, st.integers(0, 6))
@settings(deadline=None)
def test_a_larger_limit_keeps_all_initial_pairs(target, sources, limit):
    smaller = initial_pairs(target, sources, limit=limit)
    assert set(smaller) <= set(initial_pairs(target, sources, limit=limit + 1))


# --- as the fleet changes -------------------------------------------------------------------------


def test_the_patch_that_saves_the_most_bytes_comes_first():
    found = rank([backbone("v1", "b1", 10), backbone("v2", "b2", 500)])
    assert reasons(found) == [("b2", "many_devices"), ("b1", "many_devices")]
    assert [candidate.saved_bytes for candidate in found] == [500 * 700, 10 * 700]


def test_sizes_are_estimated_from_patches_that_were_built():
    found = rank([backbone("v1", "b1", 10), backbone("v2", "b2", 10)], built=[("b1", "ready", 100)])
    assert [(candidate.patch_size, candidate.estimated) for candidate in found] == [(100, False), (100, True)]


def test_a_source_that_few_devices_run_gets_a_patch_only_when_a_poll_lacks_it():
    sources = [backbone("v1", "b1", 0), backbone("v2", "b2", 1), backbone("v3", "b3", 999)]
    assert reasons(rank(sources)) == [("b3", "many_devices"), ("b2", "few_devices"), ("b1", "no_devices")]
    assert dict(reasons(rank(sources, requested=[("b2", 3)])))["b2"] == "requested"
    assert dict(reasons(rank(sources, requested=[("b1", 1)])))["b1"] == "requested"


def test_a_patch_that_was_built_or_failed_is_not_requested_again():
    sources = [backbone(f"v{n}", f"b{n}", 10) for n in range(5)]
    states = [
        ("b0", "ready", 5),
        ("b1", "queued"),
        ("b2", "not_worth_it", 990),
        ("b3", "failed"),
        ("b4", "retired"),
    ]
    assert dict(reasons(rank(sources, built=states))) == {
        "b0": "built",
        "b1": "building",
        "b2": "not_worth_it",
        "b3": "failed",
        "b4": "many_devices",
    }


def test_the_limit_counts_failed_patches_and_prefers_the_most_valuable():
    sources = [backbone(f"v{n}", f"b{n}", 100 + n) for n in range(5)]
    assert reasons(rank(sources, built=[("b0", "failed")], limit=3)) == [
        ("b4", "many_devices"),
        ("b3", "many_devices"),
        ("b2", "limit_reached"),
        ("b1", "limit_reached"),
        ("b0", "failed"),
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1000)), max_size=8),
    st.dictionaries(
        st.sampled_from("abcdef"), st.sampled_from(["ready", "queued", "failed", "retired", "not_worth_it"])
    ),
    st.integers(0, 6),
)
def test_no_more_patches_than_the_limit_are_requested_and_no_pair_twice(sources, states, limit):
    found = rank(
        [backbone(f"v{n}", digest, devices) for n, (digest, devices) in enumerate(sources)],
        built=list(states.items()),
        limit=limit,
    )
    attempted = sum(candidate.state in ("ready", "queued", "failed", "not_worth_it") for candidate in found)
    assert sum(candidate.build_now for candidate in found) <= max(0, limit - attempted)
    assert len({candidate.pair for candidate in found}) == len(found)
    saved = [candidate.saved_bytes for candidate in found]
    assert saved == sorted(saved, reverse=True)


# --- patches that no device needs -----------------------------------------------------------------


def test_a_patch_is_unused_when_no_device_has_its_source_and_none_is_offered_its_target():
    patch = PatchPair("old", "new")

    def is_unused(running=(), offered=(), pending=()):
        found = unused_patches([patch], running=set(running), offered=set(offered), pending=set(pending))
        return found == [patch]

    assert is_unused()
    assert not is_unused(running=["old"])
    assert not is_unused(offered=["new"])
    assert not is_unused(pending=["new"])
    assert not is_unused(offered=["old"]), "a rollback starts from a version on offer"
    assert is_unused(running=["new"])
