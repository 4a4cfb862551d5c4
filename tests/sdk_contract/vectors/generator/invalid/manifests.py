"""Family `manifest`: correctly signed manifests with invalid fields."""

from tests.sdk_contract.vectors.generator.keys import encode, sha
from tests.sdk_contract.vectors.generator.manifests import case, component, manifest, signed, variant


def cases():
    yield from wrong_paths()
    yield from wrong_components()
    yield from wrong_fields()
    yield from wrong_bytes()


def malformed(name, value, attack="parser_differences", problem=None):
    comment = f"correctly signed, {problem or 'malformed: ' + name.replace('-', ' ')}"
    return case(f"malformed-{name}", comment, signed(value), "malformed", attack=attack)


def malformed_component(name, fields, attack):
    return malformed(name, manifest(variants=[variant(component(**fields))]), attack)


def wrong_paths():
    paths = {
        "parent": "../evil",
        "parent-inside": "a/../../evil",
        "absolute": "/etc/passwd",
        "folder": "a/b",
        "backslash": "..\\evil",
        "drive": "C:evil",
        "hidden": ".bashrc",
        "empty": "",
        "nul": "a\0b",
        "line-feed": "a\n",
        "long": "a" * 129,
        "wide": "ａ",
    }
    for name, path in paths.items():
        yield malformed_component(f"path-{name}", {"path": path}, "arbitrary_software")


def wrong_components():
    for name, fields in {
        "name-empty": {"name": ""},
        "name-slash": {"name": "a/b"},
        "sha256-upper-case": {"sha256": sha(b"x").upper()},
        "sha256-short": {"sha256": "ab"},
        "sha256-line-feed": {"sha256": sha(b"x") + "\n"},
        "size-negative": {"size": -1},
        "size-string": {"size": "16"},
        "size-2-53": {"size": 2**53},
        "size-true": {"size": True},
        "component-unknown-field": {"mode": "0777"},
    }.items():
        attack = "endless_data" if "size" in fields else "parser_differences"
        yield malformed_component(name, fields, attack)


def wrong_fields():
    for name, value in {
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
    }.items():
        yield malformed(name, value)


def wrong_bytes():
    twice = encode(manifest())[:-1] + b',"counter":9}'
    yield malformed("two-counters", twice, problem="two counters")
    decimal = encode(manifest()).replace(b'"counter":5', b'"counter":5.0')
    yield malformed("counter-float", decimal, problem="a float")
    deep = manifest(ext={"a": [[[[[[[1]]]]]]]})
    yield malformed("deep", deep, "endless_data", problem="nine levels")
