"""Scenarios: YAML files that describe a virtual fleet. All fields are optional."""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from sdk_contract.errors import as_clause
from service.cli.errors import CliError

Share = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Section):
    """A kind of network.

    Attributes:
        share: weight relative to the other networks.
        mbit_s: download speed, megabits per second.
        loss: share of requests that are lost.
    """

    share: Annotated[float, Field(gt=0)] = 1.0
    mbit_s: Annotated[float, Field(gt=0)] = 50.0
    loss: Share = 0.0


class OutcomeShares(_Section):
    """Outcomes of attempts at a version, as shares; the rest is committed."""

    failed: Share = 0.0
    rolled_back: Share = 0.0
    silent: Share = 0.0

    @model_validator(mode="after")
    def _sum_is_at_most_one(self) -> "OutcomeShares":
        if self.failed + self.rolled_back + self.silent > 1:
            raise ValueError("the sum of failed, rolled_back and silent is greater than 1")
        return self


class Outage(_Section):
    """A period in which no device reaches the server."""

    start_hour: Annotated[float, Field(ge=0)]
    minutes: Annotated[float, Field(gt=0)]


class Stage(_Section):
    """A stage of the simulated rollout; used with `--in-process` only.

    Attributes:
        percent: percentage of the fleet.
        reports: reports before it advances.
        minutes: minutes before it advances.
        max_failure_rate: failure rate above which it halts.
    """

    percent: Annotated[float, Field(gt=0, le=100)]
    reports: Annotated[int, Field(ge=0)] = 10
    minutes: Annotated[float, Field(ge=0)] = 60
    max_failure_rate: Share = 0.02


class PacingShares(_Section):
    """Pacing of the rollout as shares of the fleet, so that a scenario fits any number of devices.

    Attributes:
        open_downloads: devices that may download at the same time.
        downloads_per_hour: devices whose full download fits into the byte budget of one hour.
    """

    open_downloads: Annotated[float, Field(gt=0, le=1)] | None = None
    downloads_per_hour: Annotated[float, Field(gt=0, le=1)] | None = None


class Scenario(_Section):
    """A fleet and what happens to it.

    Attributes:
        model: the model that devices poll for.
        hours: duration in simulated hours.
        poll_interval_s: usual pause between two polls, seconds; with `--in-process` also the server's setting.
        versions: version -> weight in the initial fleet.
        target: version of the rollout; with `--in-process` only, as all fields up to `pacing`.
        rollout_start_hour: when the rollout starts.
        stages: of the rollout.
        pacing: of the rollout.
        attributes: name -> value -> weight.
        networks: name -> network.
        outcomes: version -> outcomes of attempts at it; `*` for all other versions.
        clock_skew_s: devices' clocks are off by up to this many seconds.
        old_clients: share of devices that send requests of earlier releases and report outcomes only.
        outages: periods without a connection.
        model_megabytes: size of the model; with `--in-process` only.
    """

    model: str = "assistant"
    hours: Annotated[float, Field(gt=0, le=24 * 90)] = 24.0
    poll_interval_s: Annotated[float, Field(ge=1)] = 21_600
    versions: Weights = {"v1": 1.0}
    target: str | None = "v2"
    rollout_start_hour: Annotated[float, Field(ge=0)] = 1.0
    stages: tuple[Stage, ...] = (Stage(percent=1), Stage(percent=10), Stage(percent=100))
    pacing: PacingShares = PacingShares()
    attributes: dict[str, Weights] = {"region": {"cn-east": 2, "eu-west": 1}}
    networks: Annotated[dict[str, Network], Field(min_length=1)] = {"wifi": Network()}
    outcomes: dict[str, OutcomeShares] = {}
    clock_skew_s: Annotated[float, Field(ge=0)] = 0.0
    old_clients: Share = 0.0
    outages: tuple[Outage, ...] = ()
    model_megabytes: Annotated[int, Field(ge=1)] = 400

    def outcome_shares(self, version: str) -> OutcomeShares:
        """The outcomes of attempts at a version."""
        return self.outcomes.get(version) or self.outcomes.get("*") or OutcomeShares()


_SECTIONS = (Network, OutcomeShares, Outage, Stage, PacingShares)


def load(name: str) -> Scenario:
    """Load a scenario from a file, or a built-in one by its name.

    Raises:
        CliError: there is none, or a field is invalid; the message names the field.
    """
    path = Path(name)
    built_in = files("service.simulator") / "scenarios" / f"{name}.yaml"
    if not path.is_file() and not built_in.is_file():
        raise CliError(f"{name} is neither a file nor one of the built-in scenarios {', '.join(names())}")
    try:
        content: Any = yaml.safe_load(path.read_text() if path.is_file() else built_in.read_text())
        return Scenario.model_validate(content or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"{name} cannot be read: {error}") from error
    except ValidationError as error:
        raise CliError(f"{name}: {_message(error.errors()[0])}") from error


def names() -> list[str]:
    """Names of the built-in scenarios."""
    folder = files("service.simulator") / "scenarios"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def _message(error: ErrorDetails) -> str:
    """The field and what is wrong with it; for an unknown field, a suggestion."""
    location = ".".join(map(str, error["loc"])) or "the file"
    if error["type"] != "extra_forbidden":
        return f"{location}: {as_clause(error['msg'])}"
    if len(error["loc"]) == 1:
        known = list(Scenario.model_fields)
    else:
        known = [name for section in _SECTIONS for name in section.model_fields]
    close = get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known fields: {', '.join(dict.fromkeys(known))}"
    return f"{location}: unknown field; {hint}"
