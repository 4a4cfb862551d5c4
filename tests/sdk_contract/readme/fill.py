"""Writes the generated blocks between their marks in `sdk_contract/README.md`."""

import re
from pathlib import Path

import sdk_contract
from tests.sdk_contract.readme.blocks import blocks

README = Path(sdk_contract.__file__).parent / "README.md"


def filled(text):
    """`text` with every generated block between `<!-- NAME -->` and `<!-- /NAME -->`."""
    for name, block in blocks().items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, count = re.subn(pattern, lambda match: f"{match[1]}{block}\n{match[2]}", text, flags=re.DOTALL)  # noqa: B023
        assert count == 1, f"README.md must have the mark {name} once"
    return text
