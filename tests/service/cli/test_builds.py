import json

import pytest

from service.cli.builds import builds_from
from service.cli.http import CliError


@pytest.fixture
def weights(tmp_path):
    for name in ("int8.bin", "int4.bin"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def variant(folder, name, content):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_components_alone_are_one_build_for_everybody(weights):
    (build,) = builds_from([f"backbone={weights / 'int8.bin'}"], [])
    assert (build.name, build.selector, build.priority) == ("default", {}, 0)
    assert build.components == {"backbone": weights / "int8.bin"}


def test_a_bare_rule_selects_devices_for_the_components_of_the_command_line(weights):
    rule = {"attr": "ram_mb", "lt": 8192}
    (build,) = builds_from([f"backbone={weights / 'int4.bin'}"], [variant(weights, "small.json", rule)])
    assert (build.name, build.selector) == ("small", rule)


def test_variants_with_components_of_their_own_leave_the_rest_to_everybody_else(weights):
    content = {
        "selector": {"attr": "ram_mb", "lt": 8192},
        "priority": 10,
        "components": {"backbone": "int4.bin"},
    }
    small, default = builds_from(
        [f"backbone={weights / 'int8.bin'}"], [variant(weights, "int4.json", content)]
    )
    assert (small.name, small.priority, small.components) == ("int4", 10, {"backbone": weights / "int4.bin"})
    assert (default.name, default.components) == ("default", {"backbone": weights / "int8.bin"})


@pytest.mark.parametrize(
    ("components", "says"),
    [
        ([], "--component"),
        (["backbone"], "NAME=FILE"),
        (["=x"], "NAME=FILE"),
        (["backbone=/no/such/file"], "does not exist"),
        (["backbone=/"], "is a directory"),
        (["backbone=/dev/null"], "is no file"),
    ],
)
def test_a_command_that_names_no_bytes_is_refused_with_what_to_change(components, says):
    with pytest.raises(CliError, match=says):
        builds_from(components, [])


def test_an_empty_file_is_refused_by_name(tmp_path):
    (tmp_path / "empty.bin").touch()
    with pytest.raises(CliError, match="is empty"):
        builds_from([f"backbone={tmp_path / 'empty.bin'}"], [])


@pytest.mark.parametrize("content", [[1], {"selektor": {}, "priority": 1}])
def test_a_variant_file_that_cannot_be_read_is_refused(weights, content):
    with pytest.raises(CliError):
        builds_from([f"backbone={weights / 'int8.bin'}"], [variant(weights, "bad.json", content)])
