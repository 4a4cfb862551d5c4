"""Genuine parts that do not belong together."""

from sdk_contract.conformance.fake_server.content import random_content
from sdk_contract.conformance.fake_server.tampering import EditFields, Fields
from sdk_contract.conformance.fake_server.values import sha256_hex
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session
from sdk_contract.formats import FULL

SUITE = Suite("mix_and_match")


def _add_directive(
    name: str, requirement: str, changes: Fields, code: str, attack: str = "mix_and_match"
) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.tampering.directive.fields = lambda fields: {
            name: value for name, value in {**fields, **changes}.items() if value is not None
        }
        session.expect_refusal(code)
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, attack)


def _add_manifest(
    name: str, requirement: str, edit: EditFields, code: str, attack: str = "mix_and_match"
) -> None:
    def run(session: Session) -> None:
        session.start_with_offer().server.tampering.manifest.fields = edit
        session.expect_refusal(code)
        session.restore_server()
        session.expect_update_to("v2")

    SUITE.add(name, requirement, run, attack)


def _edit_component(**changes: object) -> EditFields:
    def edit(fields: Fields) -> Fields:
        first, *others = fields["variants"][0]["components"]
        return {**fields, "variants": [{"name": "default", "components": [{**first, **changes}, *others]}]}

    return edit


_add_directive("other-model", "A directive for another model is refused.", {"model": "other"}, "wrong_model")
_add_directive(
    "manifest-not-named",
    "A directive that names no manifest is refused.",
    {"manifest_sha256": None},
    "wrong_manifest",
)
_add_directive(
    "other-manifest-digest",
    "A manifest that the directive does not name is refused.",
    {"manifest_sha256": sha256_hex(b"other")},
    "wrong_manifest",
)
_add_directive(
    "unknown-variant",
    "A variant that the manifest does not have is refused.",
    {"variant": "int2"},
    "wrong_variant",
    "wrong_software",
)
_add_directive(
    "no-variant",
    "A directive without a variant is refused.",
    {"variant": None},
    "wrong_variant",
    "wrong_software",
)
_add_manifest(
    "manifest-of-another-model",
    "A genuine manifest of another model is refused.",
    lambda fields: {**fields, "model": "other"},
    "wrong_model",
)
_add_manifest(
    "same-path-twice",
    "Two components with the same path are refused.",
    _edit_component(path="tokenizer.bin"),
    "mixed_versions",
)
_add_manifest(
    "same-name-twice",
    "Two components with the same name are refused.",
    _edit_component(name="tokenizer"),
    "mixed_versions",
)
for _name, _path in {
    "path-in-parent-folder": "../evil.bin",
    "path-absolute": "/etc/evil.bin",
    "path-with-folder": "a/b.bin",
    "path-hidden": ".profile",
    "path-backslash": "..\\evil.bin",
    "path-empty": "",
}.items():
    _add_manifest(
        _name,
        f"The component path {_path!r} is refused.",
        _edit_component(path=_path),
        "malformed",
        "arbitrary_software",
    )


@SUITE.scenario("wrong_software")
def same_variant_twice(session: Session) -> None:
    """A manifest with two variants of the same name is refused."""
    session.start_with_offer().server.tampering.manifest.fields = lambda fields: {
        **fields,
        "variants": fields["variants"] * 2,
    }
    session.expect_refusal("malformed")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("mix_and_match")
def other_model_without_offer(session: Session) -> None:
    """A directive for another model is refused, also without an offer."""
    session.start_with_offer().server.offered = None
    session.server.tampering.directive.fields = lambda fields: {**fields, "model": "other"}
    session.expect_refusal("wrong_model")
    session.restore_server()
    session.expect_unchanged("v1")


@SUITE.scenario("mix_and_match")
def manifest_missing(session: Session) -> None:
    """A response without the manifest that the directive names is refused."""
    session.start_with_offer().server.tampering.response = lambda response: {
        name: value for name, value in response.items() if name != "manifest"
    }
    session.expect_refusal("wrong_manifest")
    session.restore_server()
    session.expect_update_to("v2")


@SUITE.scenario("mix_and_match")
def manifest_of_another_version(session: Session) -> None:
    """A genuine manifest that the directive does not name is refused."""
    server = session.start_with_offer().server
    other = server.publish("v3", 3, {"backbone": random_content("c")})

    def replace_manifest(response: Fields) -> Fields:
        envelope = server.manifest_envelope(other, server.tampering.manifest)
        return {**response, "manifest": {**response["manifest"], "envelope": envelope}}

    server.tampering.response = replace_manifest
    session.expect_refusal("wrong_manifest")


@SUITE.scenario("mix_and_match")
def one_component_is_unavailable(session: Session) -> None:
    """A version does not run before all of its components are installed."""
    server = session.start_with_offer().server
    last = random_content("last")
    server.publish("v3", 3, {"backbone": random_content("c"), "vision": random_content("d"), "zz": last})
    server.offered = "v3"
    del server.objects[sha256_hex(last)]
    session.expect_refusal("url_expired")
    server.objects[sha256_hex(last)] = last
    session.expect_update_to("v3")


@SUITE.scenario("mix_and_match")
def component_of_another_version(session: Session) -> None:
    """A store that serves another version's file is detected."""
    server = session.start_with_offer().server
    old, new = random_content("old"), random_content("new")
    server.publish("v3", 3, {"backbone": new})
    server.objects[sha256_hex(new)] = old
    server.offered = "v3"
    session.expect_refusal("input_hash_mismatch")
    server.objects[sha256_hex(new)] = new
    session.expect_update_to("v3")


@SUITE.scenario("mix_and_match")
def wanted_component_is_missing(session: Session) -> None:
    """A version without a component that the device wants is refused."""
    server = session.server
    server.publish("v1", 1, {"backbone": random_content("a"), "vision": random_content("b")})
    server.publish("v2", 2, {"backbone": random_content("c")})
    session.enroll(wanted_components=["backbone", "vision"])
    server.offered = "v1"
    session.expect_update_to("v1")
    server.offered = "v2"
    session.expect_refusal("mixed_versions", runs="v1")


@SUITE.scenario("arbitrary_software")
def download_not_in_manifest(session: Session) -> None:
    """A download that the manifest does not name is ignored."""
    server = session.start_with_offer().server
    foreign = random_content("evil")
    server.objects[sha256_hex(foreign)] = foreign

    def add_download(response: Fields) -> Fields:
        option = {
            "format": FULL,
            "url": server.url(sha256_hex(foreign)),
            "size": len(foreign),
            "sha256": sha256_hex(foreign),
        }
        entry = {
            "name": "evil",
            "path": "../evil",
            "target_sha256": sha256_hex(foreign),
            "target_size": len(foreign),
            "options": [option],
        }
        return {**response, "downloads": [*response["downloads"], entry]}

    server.tampering.response = add_download
    session.expect_update_to("v2")
    session.require(sha256_hex(foreign) not in session.downloaded_digests(), "the file was downloaded")


@SUITE.scenario("malicious_mirror")
def option_for_another_file(session: Session) -> None:
    """A download option for another file than the manifest's is not used."""
    server = session.start_with_offer().server
    foreign = random_content("evil")
    server.objects[sha256_hex(foreign)] = foreign
    server.tampering.option = lambda option: {
        **option,
        "url": server.url(sha256_hex(foreign)),
        "sha256": sha256_hex(foreign),
        "size": len(foreign),
    }
    session.expect_refusal("mixed_versions")
    session.require(sha256_hex(foreign) not in session.downloaded_digests(), "the file was downloaded")
    session.restore_server()
    session.expect_update_to("v2")
