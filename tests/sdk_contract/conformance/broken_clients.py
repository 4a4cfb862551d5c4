"""Runs scenarios against the reference client with one check removed.

`python -m tests.sdk_contract.conformance.broken_clients [--all] [CHECK...]` prints one line of JSON per check: the
scenarios that fail. It runs the scenarios of the check and some controls, with `--all` every scenario. The source of one
module is changed while it is imported, so nothing else of the client differs.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys

import bsdiff4  # noqa: F401 - loaded before the forks
import numpy as np  # noqa: F401 - loaded before the forks
import pydantic.json_schema  # noqa: F401 - loaded before the forks
import zstandard  # noqa: F401 - loaded before the forks
from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401 - loaded before the forks

from tests.sdk_contract.conformance.removed_checks import CHECKS

CONTROLS = (
    "happy_path.update",
    "happy_path.ordered-rollback",
    "patch.copies-and-zeros",
    "trust.root-rotated",
)
"""Scenarios that must pass without any of the checks."""


class SourcePatcher(importlib.abc.MetaPathFinder):
    """Imports one module with a part of its source replaced."""

    def __init__(self, module, old, new):
        self.module, self.old, self.new = module, old, new

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        patcher = self

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname):
                source = self.get_data(self.path).decode()
                assert source.count(patcher.old) == 1, f"{patcher.module} must hold {patcher.old!r} once"
                return compile(source.replace(patcher.old, patcher.new), self.path, "exec")

        assert spec is not None
        assert spec.origin is not None
        spec.loader = Loader(name, spec.origin)
        return spec


def failures_without(check, names):
    """Scenario name -> message of each scenario that fails without a check; once per process."""
    assert not any(name.startswith("sdk_contract") for name in sys.modules)
    module, old, new, _ = CHECKS[check]
    sys.meta_path.insert(0, SourcePatcher(module, old, new))
    from sdk_contract.conformance.reference import execute
    from sdk_contract.conformance.runner import run_scenarios
    from sdk_contract.conformance.scenarios import SCENARIOS
    from sdk_contract.conformance.sdk import InProcessSdk

    scenarios = [scenario for scenario in SCENARIOS if not names or scenario.name in names]
    unknown = set(names) - {scenario.name for scenario in scenarios}
    assert not unknown, f"no such scenarios: {sorted(unknown)}"
    results = run_scenarios(scenarios, InProcessSdk(execute))
    return {result.scenario.name: result.message for result in results if result.verdict == "failed"}


def main(arguments):
    """Each check in its own fork, which is cheaper than an interpreter with all imports."""
    run_all = "--all" in arguments
    for check in [name for name in arguments if name != "--all"] or CHECKS:
        child = os.fork()
        if child == 0:
            names = () if run_all else {*CHECKS[check][3], *CONTROLS}
            sys.stdout.write(json.dumps({check: failures_without(check, names)}) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
