"""Family `directive`: options of a download that a device skips."""

from tests.sdk_contract.vectors.generator.directives.responses import GOOD, case, edited, full, offer, patch
from tests.sdk_contract.vectors.generator.keys import DIRECTOR, STRANGER, sha
from tests.sdk_contract.vectors.generator.manifests import component

PART = component()
NONE_LEFT = {**GOOD, "options": {"backbone": []}, "skipped": ["mixed_versions"]}


def cases():
    yield from forged_descriptors()
    yield from patches_to_other_files()
    yield from wrong_descriptors()
    yield from wrong_whole_files()


def skipping(name, comment, option, code, attack="mix_and_match"):
    """The device skips this option with `code` and takes the whole file."""
    return case(
        f"option-{name}",
        comment,
        offer(options={"backbone": [option, full(PART)]}),
        {**GOOD, "options": {"backbone": ["full"]}, "skipped": [code]},
        attack=attack,
    )


def forged_descriptors():
    yield skipping(
        "patch-by-director",
        "a descriptor signed by the director",
        patch(PART, key=DIRECTOR),
        "unknown_key",
        "key_compromise",
    )
    yield skipping(
        "patch-by-stranger",
        "a descriptor signed by a stranger",
        patch(PART, key=STRANGER),
        "unknown_key",
        "arbitrary_software",
    )


def patches_to_other_files():
    yield skipping(
        "patch-elsewhere",
        "a genuine patch to another file",
        patch(PART, target={"sha256": sha(b"x"), "size": PART["size"]}),
        "mixed_versions",
    )
    yield skipping(
        "patch-other-target-size",
        "a patch to a file of another size",
        patch(PART, target={"sha256": PART["sha256"], "size": 1 << 50}),
        "mixed_versions",
        "endless_data",
    )
    yield skipping(
        "patch-other-bytes",
        "an option for another patch than was signed",
        patch(PART, option={"sha256": sha(b"x")}),
        "mixed_versions",
        "malicious_mirror",
    )
    yield skipping(
        "patch-other-size",
        "an option with another size than was signed",
        patch(PART, option={"size": 1 << 50}),
        "mixed_versions",
        "endless_data",
    )


def wrong_descriptors():
    yield skipping(
        "patch-no-descriptor",
        "a patch without a descriptor",
        patch(PART, option={"descriptor": None}),
        "mixed_versions",
        "arbitrary_software",
    )
    yield skipping(
        "patch-no-index",
        "a descriptor without an index digest",
        patch(PART, index_sha256=None),
        "mixed_versions",
    )
    yield skipping(
        "patch-relabelled",
        "an option with another format than was signed",
        patch(PART, format="bsdiff40"),
        "mixed_versions",
    )
    yield skipping(
        "patch-unknown-format",
        "an unknown format",
        patch(PART, option={"format": "glp9"}),
        "mixed_versions",
    )
    yield skipping(
        "patch-malformed",
        "a malformed descriptor, correctly signed",
        patch(PART, working_set=-1),
        "malformed",
        "parser_differences",
    )


def wrong_whole_files():
    lie = {**full(PART), "sha256": sha(b"other")}
    yield case(
        "option-full-elsewhere",
        "a whole file that is not the manifest's",
        offer(options={"backbone": [lie]}),
        NONE_LEFT,
        attack="malicious_mirror",
    )
    endless = {**full(PART), "size": 1 << 50}
    yield case(
        "option-full-other-size",
        "a whole file with another size",
        offer(options={"backbone": [endless]}),
        NONE_LEFT,
        attack="endless_data",
    )
    foreign = edited(
        offer(), lambda a: a["downloads"].append({**a["downloads"][0], "name": "evil", "path": "../evil"})
    )
    yield case(
        "option-foreign-component",
        "a download that the manifest does not name is ignored",
        foreign,
        GOOD,
        attack="arbitrary_software",
    )
