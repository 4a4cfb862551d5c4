"""Runs scenarios, several at a time, and collects the results."""

import fnmatch
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdk_contract.conformance.fake_server.http import serve
from sdk_contract.conformance.fake_server.server import FakeServer
from sdk_contract.conformance.fake_server.values import RecordedRequest
from sdk_contract.conformance.scenario import Scenario
from sdk_contract.conformance.sdk import Sdk
from sdk_contract.conformance.session import ScenarioFailed, ScenarioSkipped, Session

Verdict = Literal["passed", "failed", "skipped"]
MAX_REQUESTS = 60


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one scenario.

    Attributes:
        message: why the scenario failed or was skipped.
        requests: the SDK's requests in order, if the scenario failed.
    """

    scenario: Scenario
    verdict: Verdict
    message: str
    seconds: float
    requests: tuple[str, ...] = ()


def run_scenario(scenario: Scenario, sdk: Sdk) -> Result:
    """Run one scenario with its own directory and fake server."""
    started = time.monotonic()
    verdict: Verdict = "passed"
    message = ""
    with (
        tempfile.TemporaryDirectory(prefix="graylag-conformance-") as folder,
        serve(FakeServer()) as server,
    ):
        session = Session(server, sdk, Path(folder))
        try:
            scenario.run(session)
            session.check_invariants()
        except ScenarioFailed as failure:
            verdict, message = "failed", str(failure)
        except ScenarioSkipped as skipped:
            verdict, message = "skipped", str(skipped)
        except Exception as error:  # noqa: BLE001 - an SDK's unexpected output or files must not end the whole run
            verdict, message = "failed", f"{type(error).__name__}: {error}"
    requests = server.requests[:MAX_REQUESTS] if verdict == "failed" else []
    lines = tuple(_request_line(request) for request in requests)
    return Result(scenario, verdict, message, time.monotonic() - started, lines)


def run_scenarios(
    scenarios: Iterable[Scenario],
    sdk: Sdk,
    *,
    parallel: int = 2,
    on_result: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Run all of `scenarios`; return the results in their order.

    Args:
        scenarios: to run.
        sdk: under test.
        parallel: scenarios at a time.
        on_result: called with each result, from several threads.
    """

    def run_one(scenario: Scenario) -> Result:
        result = run_scenario(scenario, sdk)
        on_result(result)
        return result

    with ThreadPoolExecutor(parallel) as pool:
        return list(pool.map(run_one, scenarios))


def select(scenarios: Iterable[Scenario], pattern: str) -> list[Scenario]:
    """The scenarios whose name matches a shell pattern, such as `rollback.*`."""
    return [scenario for scenario in scenarios if fnmatch.fnmatchcase(scenario.name, pattern)]


def _request_line(request: RecordedRequest) -> str:
    """One request as a line of text, without the signature in the URL."""
    span = request.headers.get("Range")
    return f"{request.method} {request.path.partition('?signature=')[0]}{f' ({span})' if span else ''}"
