"""YAML files that users write; JSON is a subset of YAML."""

import sys
from pathlib import Path
from typing import Any

import yaml

from service.cli.errors import CliError


def read_yaml(path: Path) -> Any:
    """The content of a file; `-` is standard input. Dates stay strings, as the API expects them.

    Raises:
        CliError: the file cannot be read or is not valid YAML; the message has line and column.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_LoaderWithoutDates)  # noqa: S506 - a SafeLoader that knows fewer types
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def to_yaml(value: Any) -> str:
    """A value as YAML; keys keep their order."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


class _LoaderWithoutDates(yaml.SafeLoader):
    """A safe loader that leaves `2026-12-01` a string: JSON has no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML declares it as a class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
