"""What a publisher says on the command line, as builds: `--component NAME=FILE` and `--variant SELECTOR.json`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli.http import CliError

FIELDS = {"name", "selector", "priority", "components"}


@dataclass(frozen=True, slots=True)
class Build:
    """One build of a version.

    Attributes:
        selector: rule over device attributes; empty for every device.
        components: name -> file.
    """

    name: str
    selector: dict[str, Any]
    priority: int
    components: dict[str, Path]


def builds_from(components: Sequence[str], variants: Sequence[Path]) -> list[Build]:
    """The builds of one command.

    A variant file holds a rule (`{"attr": "ram_mb", "lt": 8192}`), or `{"name", "selector", "priority",
    "components"}` with files named relative to it. Without components of its own it is for those of the command
    line; if every variant has its own, those of the command line are the build for everybody else.

    Raises:
        CliError: a file is missing or empty, or a variant cannot be read.
    """
    listed = _listed(components)
    read = [_variant(path) for path in variants]
    builds = [Build(build.name, build.selector, build.priority, build.components or listed) for build in read]
    if listed and all(build.components for build in read):
        builds.append(Build("default", {}, 0, listed))
    if not builds or not all(build.components for build in builds):
        raise CliError("nothing to publish: give --component NAME=FILE at least once")
    return builds


def _listed(components: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in components:
        name, separator, place = text.partition("=")
        if not separator or not name or name in found:
            raise CliError(f"--component takes NAME=FILE, each name once: {text!r}")
        found[name] = _existing(Path(place), f"--component {text}")
    return found


def _variant(path: Path) -> Build:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CliError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CliError(f"{path} holds a rule, or an object with {', '.join(sorted(FIELDS))}")
    if not content.keys() & (FIELDS - {"name"}):
        content = {"selector": content}
    if not content.keys() <= FIELDS:
        raise CliError(f"{path}: unknown field {min(content.keys() - FIELDS)!r}")
    files = {
        name: _existing(path.parent / place, f"{path}: {name}")
        for name, place in content.get("components", {}).items()
    }
    return Build(
        content.get("name", path.stem), content.get("selector", {}), content.get("priority", 0), files
    )


def _existing(path: Path, where: str) -> Path:
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "is no file" if path.exists() else "does not exist"
        raise CliError(f"{where}: {path} {what}")
    if path.stat().st_size == 0:
        raise CliError(f"{where}: {path} is empty")
    return path
