"""The story that the demo tells, step by step, through the same doors that users have."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from service.cli.demo import fleet
from service.cli.demo.classifier import Classifier, Task, fine_tune, train_v1
from service.cli.demo.fleet import Device, Server
from service.cli.http import AdminApi, CliError
from service.cli.publish import LocalVariant, Release, hash_components, publish_release
from service.cli.up import Running

T = TypeVar("T")

MODEL = "phone-classifier"
ROLLOUT = "v1.1-to-everyone"
SEED = 7
PATCH_PATIENCE_S = 60.0
ROLLOUT_PATIENCE_S = 120.0
LABELS = [f"gesture-{index:02d}" for index in range(16)]

COHORTS: dict[str, dict[str, Any]] = {
    "internal": {"attr": "user_group", "eq": "internal"},
    "cn-east": {"all": [{"attr": "region", "eq": "cn-east"}, {"attr": "app_version", "semver": ">=5.2"}]},
    "everyone": {"attr": "app_version", "semver": ">=5.2"},
}
SURELY_IN_EACH_STAGE = 100
"""So many devices leave no stage empty, whatever the rollout's salt."""
STAGES = [("internal", 100), ("cn-east", 50), ("everyone", 25), ("everyone", 100)]


@dataclass(slots=True)
class Story:
    """One run of the demo.

    Attributes:
        running: the service.
        directory: for models and devices.
        console: where progress goes.
        digests: component -> sha256 of the version that was published last.
    """

    running: Running
    directory: Path
    console: Console
    api: AdminApi
    task: Task
    devices: list[Device]
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, running: Running, directory: Path, console: Console, count: int) -> "Story":
        """The servers run, and nothing else has happened."""
        task = Task.generate(SEED)
        devices = fleet.make_fleet(directory / "devices", count, task)
        return cls(running, directory, console, AdminApi(running.api_url, running.admin_token), task, devices)

    def tell(self, started: float) -> dict[str, Any]:
        """All steps; the result as the JSON line has it.

        Args:
            started: `time.monotonic()` when the person pressed Enter.

        Raises:
            CliError: a step did not come to its end.
        """
        self._train_and_publish()
        self._enrol()
        self._roll_out()
        return self._result(time.monotonic() - started)

    def _train_and_publish(self) -> None:
        v1 = self._step("training v1 (NumPy, int8)", lambda: train_v1(self.task, SEED))
        v2 = self._step("fine-tuning it into v1.1", lambda: fine_tune(v1, self.task, SEED + 1))
        self._publish("v1.0", v1)
        self._publish("v1.1", v2)
        self._step("waiting for the patch v1.0 -> v1.1, built and proved by a worker", self._wait_for_patch)

    def _publish(self, label: str, classifier: Classifier) -> None:
        folder = self.directory / label
        folder.mkdir(parents=True, exist_ok=True)
        classifier.save(folder / "classifier.safetensors")
        (folder / "labels.json").write_text(json.dumps(LABELS))
        components = {fleet.WEIGHTS: folder / "classifier.safetensors", "labels": folder / "labels.json"}
        files = hash_components(components, self.console)
        self.digests = {file.name: file.sha256 for file in files}
        release = Release(MODEL, label, [LocalVariant("default", {}, 0, files)])
        publish_release(self.api, release, self.console)

    def _wait_for_patch(self) -> None:
        deadline = time.monotonic() + PATCH_PATIENCE_S
        path = f"/v1/admin/models/{MODEL}/versions/v1.1/patches"
        while time.monotonic() < deadline:
            patches = self.api.call("GET", path)
            if patches and all(patch["state"] == "ready" for patch in patches):
                full = (self.directory / "v1.1" / "classifier.safetensors").stat().st_size
                size = patches[0]["size"]
                self.console.print(f"  patch: {size:,} bytes instead of {full:,} ({size / full:.1%})")
                return
            if any(patch["state"] in ("failed", "not_worth_it") for patch in patches):
                raise CliError(f"no patch: {patches[0]['stats']}")
            time.sleep(0.1)
        raise CliError("the patch did not become ready in time; see logs/worker-delta.log")

    def _enrol(self) -> None:
        manifest = self.api.call("GET", f"/v1/admin/models/{MODEL}/versions/v1.0/manifest")
        factory = self.directory / "v1.0"
        (factory / "manifest.json").write_text(json.dumps(manifest))
        server = Server(
            self.running.api_url, self.running.enrolment_token, self.running.trust.read_bytes(), MODEL
        )
        done = 0
        with self.console.status("") as status:

            def advance() -> None:
                nonlocal done
                done += 1
                status.update(f"devices enrol and run v1.0: {done}/{len(self.devices)}")

            self._step(
                f"{len(self.devices)} devices enrol and run v1.0",
                lambda: fleet.enrol_all(self.devices, server, factory, advance),
            )

    def _roll_out(self) -> None:
        for name, rule in COHORTS.items():
            self.api.call("PUT", f"/v1/admin/cohorts/{name}", {"rule": rule})
        stages = [
            {
                "cohort": cohort,
                "percent": percent,
                # A stage without reports holds for ever, as it should; in a small fleet some stages have no device.
                "hold": {"reports": 1 if len(self.devices) >= SURELY_IN_EACH_STAGE else 0},
                "gates": [{"metric": "failure_rate", "max": 0.05}],
            }
            for cohort, percent in STAGES
        ]
        body = {"name": ROLLOUT, "model": MODEL, "version": "v1.1", "stages": stages}
        self.api.call("POST", "/v1/admin/rollouts", body)
        self.api.call("POST", f"/v1/admin/rollouts/{ROLLOUT}/start", {"reason": "demo"})
        self._step("the rollout widens on the devices' reports", self._poll_until_over)

    def _poll_until_over(self) -> None:
        deadline = time.monotonic() + ROLLOUT_PATIENCE_S
        shown = 0
        while time.monotonic() < deadline:
            fleet.poll_all([device for device in self.devices if device.version() != "v1.1"])
            rollout = self.api.call("GET", f"/v1/admin/rollouts/{ROLLOUT}")
            reached = len(STAGES) if rollout["state"] == "completed" else rollout["stage"] + 1
            for index, (cohort, percent) in enumerate(STAGES[shown:reached], shown + 1):
                self.console.print(f"  stage {index}: {percent} % of {cohort}")
            shown = reached
            if rollout["state"] == "halted":
                raise CliError(f"the rollout halted: {rollout['reason']}")
            if rollout["state"] == "completed" and not self._behind():
                return
            time.sleep(0.3)
        raise CliError(f"the rollout did not come to its end; {len(self._behind())} devices are behind")

    def _in_cohort(self) -> list[Device]:
        return [
            device
            for device in self.devices
            if device.attributes["app_version"] >= "5.2" or device.attributes["user_group"] == "internal"
        ]

    def _behind(self) -> list[Device]:
        return [device for device in self._in_cohort() if device.version() != "v1.1"]

    def _result(self, seconds: float) -> dict[str, Any]:
        inside = self._in_cohort()
        updated = [device for device in inside if device.runs(self.digests)]
        for device in updated:
            device.accuracy_after = device.accuracy()
        full = sum(path.stat().st_size for path in (self.directory / "v1.1").iterdir())
        sent = sum(device.sent_bytes for device in self.devices)
        full_bytes = full * len(inside)
        return {
            "devices": len(self.devices),
            "updated": len(updated),
            "failed": len(inside) - len(updated),
            "not_in_cohort": len(self.devices) - len(inside),
            "full_bytes": full_bytes,
            "sent_bytes": sent,
            "saved_ratio": round(1 - sent / full_bytes, 4) if full_bytes else 0.0,
            "accuracy_before": _mean([device.accuracy_before for device in updated]),
            "accuracy_after": _mean([device.accuracy_after for device in updated]),
            "seconds": round(seconds, 1),
        }

    def table(self, result: dict[str, Any]) -> Table:
        """Devices per stage, and the sums."""
        rollout = self.api.call("GET", f"/v1/admin/rollouts/{ROLLOUT}")
        table = Table(title=f"{MODEL} v1.0 -> v1.1", title_justify="left")
        for heading in ("stage", "cohort", "offered", "updated", "failed", "bytes sent"):
            table.add_column(heading, justify="left" if heading == "cohort" else "right")
        for stage in rollout["stages"]:
            counts = stage["outcomes"]
            failed = sum(counts.get(name, 0) for name in ("failed", "rolled_back", "timed_out"))
            figures = [
                counts.get("offered", 0),
                counts.get("committed", 0),
                failed,
                counts.get("bytes_sent", 0),
            ]
            share = f"{stage['percent']:g} % of {stage['cohort']}"
            table.add_row(str(stage["ordinal"] + 1), share, *(f"{figure:,}" for figure in figures))
        table.add_section()
        table.add_row(
            "all",
            f"{result['devices']} devices, {result['not_in_cohort']} not in a cohort",
            "",
            f"{result['updated']:,}",
            f"{result['failed']:,}",
            f"{result['sent_bytes']:,}",
        )
        table.caption = (
            f"{result['sent_bytes']:,} bytes instead of {result['full_bytes']:,}: {result['saved_ratio']:.1%} saved. "
            f"Accuracy {result['accuracy_before']:.1%} -> {result['accuracy_after']:.1%}."
        )
        return table

    def _step(self, title: str, action: Callable[[], T]) -> T:
        started = time.monotonic()
        self.console.print(f"· {title} ...")
        result = action()
        self.console.print(f"  {time.monotonic() - started:.1f} s")
        return result


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
