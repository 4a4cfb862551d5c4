"""What a virtual fleet is like: a YAML file with these fields, all of them optional."""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from service.cli.http import CliError

Share = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Part):
    """One way of being connected.

    Attributes:
        share: of the fleet, in proportion to the other networks.
        mbit_s: download speed.
        loss: share of requests that never arrive.
    """

    share: Annotated[float, Field(gt=0)] = 1.0
    mbit_s: Annotated[float, Field(gt=0)] = 50.0
    loss: Share = 0.0


class Fate(_Part):
    """What becomes of attempts at a version, as shares of all; the rest is committed."""

    failed: Share = 0.0
    rolled_back: Share = 0.0
    silent: Share = 0.0

    @model_validator(mode="after")
    def _at_most_all(self) -> "Fate":
        if self.failed + self.rolled_back + self.silent > 1:
            raise ValueError("failed, rolled_back and silent are more than all together")
        return self


class Outage(_Part):
    """A time in which nobody reaches the server."""

    from_hour: Annotated[float, Field(ge=0)]
    minutes: Annotated[float, Field(gt=0)]


class Stage(_Part):
    """A stage of the rollout that the simulation starts; only inside this process."""

    percent: Annotated[float, Field(gt=0, le=100)]
    reports: Annotated[int, Field(ge=0)] = 10
    minutes: Annotated[float, Field(ge=0)] = 60
    max_failures: Share = 0.02


class Paced(_Part):
    """Bounds of the rollout, as shares of the fleet, so that they mean the same for any number of devices.

    Attributes:
        open_downloads: devices that may be on their way at the same time.
        an_hour: devices whose whole download fits into the bytes of an hour.
    """

    open_downloads: Annotated[float, Field(gt=0, le=1)] | None = None
    an_hour: Annotated[float, Field(gt=0, le=1)] | None = None


class Scenario(_Part):
    """A fleet and what happens to it.

    Attributes:
        model: what the devices ask for.
        hours: how long the simulation lasts, in the devices' time.
        poll_s: the devices' usual pause; inside this process also what the server asks for.
        versions: label -> share of the fleet that runs it in the beginning.
        target: the version of the rollout, inside this process.
        rollout_hour: when it is started.
        pacing: bounds of the rollout, inside this process.
        attributes: name -> value -> weight.
        fates: version -> what becomes of attempts at it; `*` for all others.
        clock_skew_s: devices' clocks are off by up to this.
        old_clients: share that sends what earlier releases sent, and reports no more than outcomes.
        megabytes: size of the model, inside this process.
    """

    model: str = "assistant"
    hours: Annotated[float, Field(gt=0, le=24 * 90)] = 24.0
    poll_s: Annotated[float, Field(ge=1)] = 21_600
    versions: Weights = {"v1": 1.0}
    target: str | None = "v2"
    rollout_hour: Annotated[float, Field(ge=0)] = 1.0
    stages: tuple[Stage, ...] = (Stage(percent=1), Stage(percent=10), Stage(percent=100))
    pacing: Paced = Paced()
    attributes: dict[str, Weights] = {"region": {"cn-east": 2, "eu-west": 1}}
    networks: Annotated[dict[str, Network], Field(min_length=1)] = {"wifi": Network()}
    fates: dict[str, Fate] = {}
    clock_skew_s: Annotated[float, Field(ge=0)] = 0.0
    old_clients: Share = 0.0
    outages: tuple[Outage, ...] = ()
    megabytes: Annotated[int, Field(ge=1)] = 400

    def fate(self, version: str) -> Fate:
        """What becomes of attempts at a version."""
        return self.fates.get(version) or self.fates.get("*") or Fate()


def load(place: str) -> Scenario:
    """A scenario from a file, or one of ours by its name.

    Raises:
        CliError: there is none, or it cannot be read; names the field.
    """
    found = Path(place)
    own = files("service.cli.simulate") / "scenarios" / f"{place}.yaml"
    if not found.is_file() and not own.is_file():
        raise CliError(f"{place} is neither a file nor one of {', '.join(names())}")
    try:
        raw: Any = yaml.safe_load(found.read_text() if found.is_file() else own.read_text())
        return Scenario.model_validate(raw or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"{place}: {error}") from error
    except ValidationError as error:
        raise CliError(f"{place}: {_told(error.errors()[0])}") from error


def _told(fault: ErrorDetails) -> str:
    """What is wrong, and with which field; where there is no such field, those that there are."""
    where = ".".join(map(str, fault["loc"])) or "the file"
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']}"
    parts = (Scenario, Network, Fate, Outage, Stage, Paced)
    known = (
        Scenario.model_fields if len(fault["loc"]) == 1 else [n for p in parts[1:] for n in p.model_fields]
    )
    close = get_close_matches(str(fault["loc"][-1]), known, n=1)
    hint = (
        f"did you mean {close[0]}?" if close else f"take it out; there are {', '.join(dict.fromkeys(known))}"
    )
    return f"{where}: there is no such field; {hint}"


def names() -> list[str]:
    """The scenarios that come with the package."""
    folder = files("service.cli.simulate") / "scenarios"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )
