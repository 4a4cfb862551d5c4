"""Variants of a version, as the options `--component NAME=FILE` and `--variant FILE.json` describe them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli.errors import CliError

FIELDS = {"name", "selector", "priority", "components"}


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """One variant of a version.

    Attributes:
        selector: rule over device attributes; the empty rule matches every device.
        components: component name -> file.
    """

    name: str
    selector: dict[str, Any]
    priority: int
    components: dict[str, Path]


def variants_from_options(components: Sequence[str], variant_files: Sequence[Path]) -> list[VariantSpec]:
    """The variants of one `graylag publish`.

    A variant file holds either a rule (`{"attr": "ram_mb", "lt": 8192}`) or an object with `name`, `selector`,
    `priority` and `components`; paths in it are relative to the file. A variant without components gets those of
    the command line. If every variant has its own, the components of the command line are one more variant, for
    all other devices.

    Raises:
        CliError: there are no components, a file is missing or empty, or a variant file is invalid.
    """
    from_options = _components_from(components)
    read = [_read_variant(path) for path in variant_files]
    variants = [
        VariantSpec(one.name, one.selector, one.priority, one.components or from_options) for one in read
    ]
    if from_options and all(one.components for one in read):
        variants.append(VariantSpec("default", {}, 0, from_options))
    if not variants or not all(one.components for one in variants):
        raise CliError("no component is given; use --component NAME=FILE at least once")
    return variants


def _components_from(options: Sequence[str]) -> dict[str, Path]:
    components: dict[str, Path] = {}
    for text in options:
        name, separator, path = text.partition("=")
        if not separator or not name:
            raise CliError(f"--component {text!r} is not of the form NAME=FILE")
        if name in components:
            raise CliError(f"--component {name} is given twice; use each name once")
        components[name] = _require_file(Path(path), f"--component {text}")
    return components


def _read_variant(path: Path) -> VariantSpec:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CliError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise CliError(f"{path} must hold a rule, or an object with {', '.join(sorted(FIELDS))}")
    if not content.keys() & (FIELDS - {"name"}):
        content = {"selector": content}
    if not content.keys() <= FIELDS:
        unknown = min(content.keys() - FIELDS)
        raise CliError(f"{path}: unknown field {unknown!r}; use {', '.join(sorted(FIELDS))}")
    files = {
        name: _require_file(path.parent / file, f"{path}: {name}")
        for name, file in content.get("components", {}).items()
    }
    return VariantSpec(
        content.get("name", path.stem), content.get("selector", {}), content.get("priority", 0), files
    )


def _require_file(path: Path, source: str) -> Path:
    if not path.is_file():
        problem = (
            "is a directory"
            if path.is_dir()
            else "is not a regular file"
            if path.exists()
            else "does not exist"
        )
        raise CliError(f"{source}: {path} {problem}")
    if path.stat().st_size == 0:
        raise CliError(f"{source}: {path} is empty")
    return path
