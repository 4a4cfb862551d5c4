"""Plays scenarios, several at a time, and keeps what came of each."""

import fnmatch
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdk_contract.conformance.facts import Seen
from sdk_contract.conformance.scenario import Scenario
from sdk_contract.conformance.sdk import Sdk
from sdk_contract.conformance.server import serving
from sdk_contract.conformance.stage import Failed, Skipped, Stage
from sdk_contract.conformance.world import World

Verdict = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scenario.

    Attributes:
        message: why it failed or was skipped.
        requests: what the SDK asked of the server, in order, where it failed.
    """

    scenario: Scenario
    verdict: Verdict
    message: str
    seconds: float
    requests: tuple[str, ...] = ()


MAX_REQUESTS = 60


def play(scenario: Scenario, sdk: Sdk) -> Result:
    """Play one scenario in a directory and with a server of its own."""
    started = time.monotonic()
    verdict: Verdict = "passed"
    message = ""
    with tempfile.TemporaryDirectory(prefix="graylag-conformance-") as folder, serving(World()) as world:
        stage = Stage(world, sdk, Path(folder))
        try:
            scenario.play(stage)
            stage.check_manners()
        except Failed as failure:
            verdict, message = "failed", str(failure)
        except Skipped as skipped:
            verdict, message = "skipped", str(skipped)
        except Exception as error:  # noqa: BLE001 - what an SDK prints or leaves on disk must not end the run
            verdict, message = "failed", f"{type(error).__name__}: {error}"
    asked = tuple(_told(entry) for entry in world.seen[:MAX_REQUESTS]) if verdict == "failed" else ()
    return Result(scenario, verdict, message, time.monotonic() - started, asked)


def play_all(
    scenarios: Iterable[Scenario],
    sdk: Sdk,
    *,
    parallel: int = 2,
    tell: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Play all of `scenarios`; results come in their order."""

    def one(scenario: Scenario) -> Result:
        result = play(scenario, sdk)
        tell(result)
        return result

    with ThreadPoolExecutor(parallel) as pool:
        return list(pool.map(one, scenarios))


def _told(entry: Seen) -> str:
    """One request on one line; an address that was signed for one use tells nobody anything."""
    span = entry.headers.get("Range")
    return f"{entry.method} {entry.path.partition('?signature=')[0]}{f' ({span})' if span else ''}"


def chosen(scenarios: Iterable[Scenario], pattern: str) -> list[Scenario]:
    """Those whose name fits a shell pattern, such as `rollback.*`."""
    return [scenario for scenario in scenarios if fnmatch.fnmatchcase(scenario.name, pattern)]
