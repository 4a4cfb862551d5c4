import ast
from pathlib import Path
from typing import get_args

import pytest

from sdk_contract import formats

ROOT = Path(formats.__file__).parent.parent
PACKAGES = ("sdk_contract", "service", "workers")


def string_constants(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_takes_the_names_of_patch_formats_from_one_place(package):
    sources = [path for path in (ROOT / package).rglob("*.py") if path != Path(formats.__file__)]
    spelled = [path for path in sources if string_constants(path) & {formats.GLP1, formats.BSDIFF40}]
    assert spelled == []


def test_the_patch_formats_of_a_descriptor_are_the_named_ones():
    assert get_args(formats.PatchFormat) == (formats.GLP1, formats.BSDIFF40)
