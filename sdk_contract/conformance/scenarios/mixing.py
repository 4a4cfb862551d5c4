"""Genuine parts that do not belong together."""

from sdk_contract.conformance.facts import sha
from sdk_contract.conformance.lies import Edit, Fields
from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content

BOOK = Book("mixing")


def _directive(words: str, text: str, lie: Fields, code: str, attack: str = "mix_and_match") -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.lies.directive.fields = lambda fields: {
            name: value for name, value in {**fields, **lie}.items() if value is not None
        }
        stage.refuses(code)
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, attack)


def _manifest(words: str, text: str, edit: Edit, code: str, attack: str = "mix_and_match") -> None:
    def play(stage: Stage) -> None:
        stage.ready().world.lies.manifest.fields = edit
        stage.refuses(code)
        stage.honest()
        stage.updates_to("v2")

    BOOK.add(words, text, play, attack)


def _component(**lie: object) -> Edit:
    def edit(fields: Fields) -> Fields:
        first, *others = fields["variants"][0]["components"]
        return {**fields, "variants": [{"name": "default", "components": [{**first, **lie}, *others]}]}

    return edit


_directive("other-model", "A directive about another model is refused.", {"model": "other"}, "wrong_model")
_directive(
    "manifest-not-named",
    "An order that names no manifest is refused.",
    {"manifest_sha256": None},
    "wrong_manifest",
)
_directive(
    "other-digest",
    "A manifest that the order does not name is refused.",
    {"manifest_sha256": sha(b"other")},
    "wrong_manifest",
)
_directive(
    "unknown-variant",
    "A variant that the manifest does not have is refused.",
    {"variant": "int2"},
    "wrong_variant",
    "wrong_software",
)
_directive("no-variant", "So is an order without one.", {"variant": None}, "wrong_variant", "wrong_software")
_manifest(
    "manifest-of-another-model",
    "A genuine manifest of another model is refused.",
    lambda fields: {**fields, "model": "other"},
    "wrong_model",
)
_manifest(
    "same-path-twice",
    "Two components for one file are refused.",
    _component(path="tokenizer.bin"),
    "mixed_versions",
)
_manifest(
    "same-name-twice",
    "Two components of one name are refused.",
    _component(name="tokenizer"),
    "mixed_versions",
)
for _words, _path in {
    "path-to-the-parent": "../evil.bin",
    "path-absolute": "/etc/evil.bin",
    "path-with-folder": "a/b.bin",
    "path-hidden": ".profile",
    "path-backslash": "..\\evil.bin",
    "path-empty": "",
}.items():
    _manifest(
        _words,
        f"A component may not be called {_path!r}.",
        _component(path=_path),
        "malformed",
        "arbitrary_software",
    )


@BOOK.scenario("wrong_software")
def same_variant_twice(stage: Stage) -> None:
    """A manifest with two variants of one name is refused: which one is meant?"""
    stage.ready().world.lies.manifest.fields = lambda fields: {**fields, "variants": fields["variants"] * 2}
    stage.refuses("malformed")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("mix_and_match")
def other_model_in_a_no(stage: Stage) -> None:
    """A no about another model is no answer."""
    stage.ready().world.offered = None
    stage.world.lies.directive.fields = lambda fields: {**fields, "model": "other"}
    stage.refuses("wrong_model")
    stage.honest()
    stage.stays("v1")


@BOOK.scenario("mix_and_match")
def no_manifest(stage: Stage) -> None:
    """An order without its manifest is refused."""
    stage.ready().world.lies.answer = lambda answer: {
        name: value for name, value in answer.items() if name != "manifest"
    }
    stage.refuses("wrong_manifest")
    stage.honest()
    stage.updates_to("v2")


@BOOK.scenario("mix_and_match")
def manifest_of_another_version(stage: Stage) -> None:
    """A genuine manifest that was not named is refused."""
    world = stage.ready().world
    other = world.publish("v3", 3, {"backbone": content("c")})

    def swap(answer: Fields) -> Fields:
        envelope = world.manifest(other, world.lies.manifest)
        return {**answer, "manifest": {**answer["manifest"], "envelope": envelope}}

    world.lies.answer = swap
    stage.refuses("wrong_manifest")


@BOOK.scenario("mix_and_match")
def one_component_never_arrives(stage: Stage) -> None:
    """Lockstep: as long as one component is missing, none of the version runs."""
    world = stage.ready().world
    last = content("last")
    world.publish("v3", 3, {"backbone": content("c"), "vision": content("d"), "zz": last})
    world.offered = "v3"
    del world.objects[sha(last)]
    stage.refuses("url_expired")
    world.objects[sha(last)] = last
    stage.updates_to("v3")


@BOOK.scenario("mix_and_match")
def component_of_another_version(stage: Stage) -> None:
    """A store that serves the old file under the new name is found out."""
    world = stage.ready().world
    old, new = content("old"), content("new")
    world.publish("v3", 3, {"backbone": new})
    world.objects[sha(new)] = old
    world.offered = "v3"
    stage.refuses("input_hash_mismatch")
    world.objects[sha(new)] = new
    stage.updates_to("v3")


@BOOK.scenario("mix_and_match")
def wanted_module_is_missing(stage: Stage) -> None:
    """A version without a module that the device wants is refused."""
    world = stage.world
    world.publish("v1", 1, {"backbone": content("a"), "vision": content("b")})
    world.publish("v2", 2, {"backbone": content("c")})
    stage.enrol(modules=["backbone", "vision"])
    world.offered = "v1"
    stage.updates_to("v1")
    world.offered = "v2"
    stage.refuses("mixed_versions", runs="v1")


@BOOK.scenario("arbitrary_software")
def foreign_download(stage: Stage) -> None:
    """A download that the manifest does not name is not fetched."""
    world = stage.ready().world
    evil = content("evil")
    world.objects[sha(evil)] = evil

    def smuggle(answer: Fields) -> Fields:
        way = {"format": "full", "url": world.url(sha(evil)), "size": len(evil), "sha256": sha(evil)}
        entry = {
            "name": "evil",
            "path": "../evil",
            "target_sha256": sha(evil),
            "target_size": len(evil),
            "ways": [way],
        }
        return {**answer, "downloads": [*answer["downloads"], entry]}

    world.lies.answer = smuggle
    stage.updates_to("v2")
    stage.require(sha(evil) not in stage.downloaded(), "it was fetched")


@BOOK.scenario("malicious_mirror")
def way_to_another_file(stage: Stage) -> None:
    """An address for other bytes than the manifest's is not used."""
    world = stage.ready().world
    evil = content("evil")
    world.objects[sha(evil)] = evil
    world.lies.way = lambda way: {**way, "url": world.url(sha(evil)), "sha256": sha(evil), "size": len(evil)}
    stage.refuses("mixed_versions")
    stage.require(sha(evil) not in stage.downloaded(), "it was fetched")
    stage.honest()
    stage.updates_to("v2")
