"""Family `manifest`: correctly signed manifests with invalid fields."""

from tests.sdk_contract.vectors.generator.keys import encode, sha
from tests.sdk_contract.vectors.generator.manifests import case, component, manifest, signed, variant


def cases():
    parts = {
        "path-parent": component(path="../evil"),
        "path-parent-inside": component(path="a/../../evil"),
        "path-absolute": component(path="/etc/passwd"),
        "path-folder": component(path="a/b"),
        "path-backslash": component(path="..\\evil"),
        "path-drive": component(path="C:evil"),
        "path-hidden": component(path=".bashrc"),
        "path-empty": component(path=""),
        "path-nul": component(path="a\0b"),
        "path-line-feed": component(path="a\n"),
        "path-long": component(path="a" * 129),
        "path-wide": component(path="ａ"),
        "name-empty": component(name=""),
        "name-slash": component(name="a/b"),
        "sha256-upper-case": component(sha256=sha(b"x").upper()),
        "sha256-short": component(sha256="ab"),
        "sha256-line-feed": component(sha256=sha(b"x") + "\n"),
        "size-negative": component(size=-1),
        "size-string": component(size="16"),
        "size-2-53": component(size=2**53),
        "size-true": component(size=True),
        "component-unknown-field": component(mode="0777"),
    }
    for name, part in parts.items():
        attack = (
            "endless_data"
            if name.startswith("size")
            else "arbitrary_software"
            if name.startswith("path")
            else "parser_differences"
        )
        yield case(
            f"malformed-{name}",
            f"correctly signed, malformed: {name.replace('-', ' ')}",
            signed(manifest(variants=[variant(part)])),
            "malformed",
            attack=attack,
        )
    wholes = {
        "no-variants": manifest(variants=[]),
        "variants-65": manifest(variants=[variant(name=f"v{n}") for n in range(65)]),
        "same-variant-twice": manifest(variants=[variant(), variant(component("other"))]),
        "no-components": manifest(variants=[{"name": "default", "components": []}]),
        "unknown-field": manifest(color="blue"),
        "counter-string": {**manifest(), "counter": "5"},
        "counter-null": {**manifest(), "counter": None},
        "counter-missing": {key: value for key, value in manifest().items() if key != "counter"},
        "floor-negative": manifest(floor=-1),
        "label-blank": {**manifest(), "version": "v 5"},
        "label-list": {**manifest(), "version": ["v5"]},
        "model-missing": {key: value for key, value in manifest().items() if key != "model"},
        "expires-13th-month": manifest(expires="2027-13-01T00:00:00Z"),
        "expires-9999": manifest(expires="9999-12-31T23:59:59Z"),
        "issued-1969": manifest(issued="1969-12-31T23:59:59Z"),
        "expires-fraction": manifest(expires="2027-02-20T00:00:00.5Z"),
        "requires-number": manifest(requires={"app": 5}),
        "list": [manifest()],
    }
    for name, value in wholes.items():
        yield case(
            f"malformed-{name}",
            f"correctly signed, malformed: {name.replace('-', ' ')}",
            signed(value),
            "malformed",
            attack="parser_differences",
        )
    twice = encode(manifest())[:-1] + b',"counter":9}'
    yield case(
        "malformed-two-counters",
        "correctly signed, two counters",
        signed(twice),
        "malformed",
        attack="parser_differences",
    )
    decimal = encode(manifest()).replace(b'"counter":5', b'"counter":5.0')
    yield case(
        "malformed-counter-float",
        "correctly signed, a float",
        signed(decimal),
        "malformed",
        attack="parser_differences",
    )
    deep = manifest(ext={"a": [[[[[[[1]]]]]]]})
    yield case(
        "malformed-deep", "correctly signed, nine levels", signed(deep), "malformed", attack="endless_data"
    )
