"""Files that people write: YAML, of which JSON is a part."""

import sys
from pathlib import Path
from typing import Any

import yaml

from service.cli.http import CliError


def read_document(path: Path) -> Any:
    """What a file says; `-` is standard input. Dates stay text, as the API wants them.

    Raises:
        CliError: the file is not there, or is no YAML; the line says where.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader that knows fewer types
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error


def write_document(value: Any) -> str:
    """As YAML, in the order in which it came."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


class _PlainLoader(yaml.SafeLoader):
    """Everything but dates: JSON has none, and `2026-12-01` was meant as it stands there."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's class holds it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
