import json

import pytest

from service.cli.errors import CliError
from service.cli.releases.variants import variants_from_options


@pytest.fixture
def weights(tmp_path):
    for name in ("int8.bin", "int4.bin"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def variant_file(folder, name, content):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_components_without_variants_are_one_variant_for_all_devices(weights):
    (variant,) = variants_from_options([f"backbone={weights / 'int8.bin'}"], [])
    assert (variant.name, variant.selector, variant.priority) == ("default", {}, 0)
    assert variant.components == {"backbone": weights / "int8.bin"}


def test_a_file_with_a_rule_only_uses_the_components_of_the_command_line(weights):
    rule = {"attr": "ram_mb", "lt": 8192}
    (variant,) = variants_from_options(
        [f"backbone={weights / 'int4.bin'}"], [variant_file(weights, "small.json", rule)]
    )
    assert (variant.name, variant.selector) == ("small", rule)


def test_variants_with_components_leave_those_of_the_command_line_to_all_other_devices(weights):
    content = {
        "selector": {"attr": "ram_mb", "lt": 8192},
        "priority": 10,
        "components": {"backbone": "int4.bin"},
    }
    small, default = variants_from_options(
        [f"backbone={weights / 'int8.bin'}"], [variant_file(weights, "int4.json", content)]
    )
    assert (small.name, small.priority, small.components) == ("int4", 10, {"backbone": weights / "int4.bin"})
    assert (default.name, default.components) == ("default", {"backbone": weights / "int8.bin"})


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ([], "--component"),
        (["backbone"], "NAME=FILE"),
        (["=x"], "NAME=FILE"),
        (["backbone=/no/such/file"], "does not exist"),
        (["backbone=/"], "is a directory"),
        (["backbone=/dev/null"], "is not a regular file"),
    ],
)
def test_missing_or_invalid_components_are_rejected_with_the_reason(components, message):
    with pytest.raises(CliError, match=message):
        variants_from_options(components, [])


def test_an_empty_file_is_rejected(tmp_path):
    (tmp_path / "empty.bin").touch()
    with pytest.raises(CliError, match="is empty"):
        variants_from_options([f"backbone={tmp_path / 'empty.bin'}"], [])


@pytest.mark.parametrize("content", [[1], {"selektor": {}, "priority": 1}])
def test_an_invalid_variant_file_is_rejected(weights, content):
    with pytest.raises(CliError, match="components, name, priority, selector"):
        variants_from_options(
            [f"backbone={weights / 'int8.bin'}"], [variant_file(weights, "bad.json", content)]
        )
