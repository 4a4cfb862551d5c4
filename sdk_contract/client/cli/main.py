"""Entry point of `graylag-agent`, the client as a command for Linux-class devices."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError

from sdk_contract.client.cli.arguments import build_parser
from sdk_contract.client.cli.commands import FAILED, USAGE
from sdk_contract.errors import ContractError, as_clause

INTERRUPTED = 130
"""The exit status that shells use for a command ended by Ctrl-C."""


def run() -> NoReturn:
    """The entry point."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command, and return its exit status.

    Returns:
        0 on success, 1 after an error or a rollback, 2 for wrong usage, 130 when interrupted.
    """
    options = build_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ContractError as fault:
        print(f"graylag-agent: {fault}", file=sys.stderr)
    except OSError as error:
        print(f"graylag-agent: {error}", file=sys.stderr)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location, message = ".".join(map(str, first["loc"])), as_clause(first["msg"])
        print(f"graylag-agent: {location}: {message}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


if __name__ == "__main__":
    run()
