"""The steps of the demo. They use the same interfaces as users: admin API, `graylag publish` and the client."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.processes.local_service import RunningService
from service.cli.releases.publish import LocalVariant, Release, hash_components, publish_release
from service.demo import devices
from service.demo.classifier import Classifier, Task, fine_tune, train_v1
from service.demo.devices import Device, Server

T = TypeVar("T")

MODEL = "phone-classifier"
OLD, NEW = "v1.0", "v1.1"
ROLLOUT = "v1.1-to-everyone"
SEED = 7
PATCH_TIMEOUT_S = 60.0
ROLLOUT_TIMEOUT_S = 120.0
CHECK_INTERVAL_S = 0.3
PATCH_CHECK_INTERVAL_S = 0.1
LABELS = [f"gesture-{index:02d}" for index in range(16)]
MIN_APP_VERSION = "5.2"

COHORTS: dict[str, dict[str, Any]] = {
    "internal": {"attr": "user_group", "eq": "internal"},
    "cn-east": {
        "all": [
            {"attr": "region", "eq": "cn-east"},
            {"attr": "app_version", "semver": f">={MIN_APP_VERSION}"},
        ]
    },
    "everyone": {"attr": "app_version", "semver": f">={MIN_APP_VERSION}"},
}
STAGES = [("internal", 100), ("cn-east", 50), ("everyone", 25), ("everyone", 100)]
"""(cohort, percent) of each stage."""
DEVICES_FOR_ALL_STAGES = 100
"""With this many devices no stage is empty, whatever the rollout's salt."""


@dataclass(slots=True)
class Walkthrough:
    """One run of the demo.

    Attributes:
        running: the service.
        directory: for models and devices.
        console: for progress.
        digests: component -> sha256 of the version that was published last.
    """

    running: RunningService
    directory: Path
    console: Console
    api: AdminApi
    task: Task
    devices: list[Device]
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, running: RunningService, directory: Path, console: Console, count: int) -> "Walkthrough":
        """Prepare a run with `count` devices."""
        task = Task.generate(SEED)
        api = AdminApi(running.api_url, running.admin_token)
        fleet = devices.create_devices(directory / "devices", count, task)
        return cls(running, directory, console, api, task, fleet)

    def run(self, started: float) -> dict[str, Any]:
        """Run all steps; return the result as `--json` prints it.

        Args:
            started: `time.monotonic()` at the start of the command.

        Raises:
            CliError: a step failed or took too long.
        """
        self._train_and_publish()
        self._enroll()
        self._roll_out()
        return self._result(time.monotonic() - started)

    def table(self, result: dict[str, Any]) -> Table:
        """Outcomes per stage, and the totals."""
        rollout = self.api.call("GET", f"/v1/admin/rollouts/{ROLLOUT}")
        table = Table(title=f"{MODEL} {OLD} -> {NEW}", title_justify="left")
        for heading in ("stage", "cohort", "offered", "updated", "failed", "bytes sent"):
            table.add_column(heading, justify="left" if heading == "cohort" else "right")
        for stage in rollout["stages"]:
            table.add_row(*_stage_row(stage))
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

    def _train_and_publish(self) -> None:
        v1 = self._step(f"training {OLD} (NumPy, int8)", lambda: train_v1(self.task, SEED))
        v2 = self._step(f"fine-tuning it into {NEW}", lambda: fine_tune(v1, self.task, SEED + 1))
        self._publish(OLD, v1)
        self._publish(NEW, v2)
        self._step(
            f"waiting for the patch {OLD} -> {NEW}, built and verified by a worker", self._wait_for_patch
        )

    def _publish(self, label: str, classifier: Classifier) -> None:
        folder = self.directory / label
        folder.mkdir(parents=True, exist_ok=True)
        classifier.save(folder / "classifier.safetensors")
        (folder / "labels.json").write_text(json.dumps(LABELS))
        components = {devices.WEIGHTS: folder / "classifier.safetensors", "labels": folder / "labels.json"}
        files = hash_components(components, self.console)
        self.digests = {file.name: file.sha256 for file in files}
        release = Release(MODEL, label, [LocalVariant("default", {}, 0, files)])
        publish_release(self.api, release, self.console)

    def _wait_for_patch(self) -> None:
        deadline = time.monotonic() + PATCH_TIMEOUT_S
        path = f"/v1/admin/models/{MODEL}/versions/{NEW}/patches"
        while time.monotonic() < deadline:
            patches = self.api.call("GET", path)
            if patches and all(patch["state"] == "ready" for patch in patches):
                full = (self.directory / NEW / "classifier.safetensors").stat().st_size
                size = patches[0]["size"]
                self.console.print(f"  patch: {size:,} bytes instead of {full:,} ({size / full:.1%})")
                return
            if any(patch["state"] in ("failed", "not_worth_it") for patch in patches):
                raise CliError(f"the patch was not built: {patches[0]['stats']}")
            time.sleep(PATCH_CHECK_INTERVAL_S)
        raise CliError(f"the patch is not ready after {PATCH_TIMEOUT_S:g} s; see {self._log('worker-delta')}")

    def _enroll(self) -> None:
        manifest = self.api.call("GET", f"/v1/admin/models/{MODEL}/versions/{OLD}/manifest")
        factory = self.directory / OLD
        (factory / "manifest.json").write_text(json.dumps(manifest))
        server = Server(
            self.running.api_url,
            self.running.enrollment_token,
            self.running.trust_bundle.read_bytes(),
            MODEL,
        )
        enrolled = 0
        with self.console.status("") as status:

            def advance() -> None:
                nonlocal enrolled
                enrolled += 1
                status.update(f"devices enroll and run {OLD}: {enrolled}/{len(self.devices)}")

            self._step(
                f"{len(self.devices)} devices enroll and run {OLD}",
                lambda: devices.enroll_all(self.devices, server, factory, advance),
            )

    def _roll_out(self) -> None:
        for name, rule in COHORTS.items():
            self.api.call("PUT", f"/v1/admin/cohorts/{name}", {"rule": rule})
        # In a small fleet a stage may have no device, and would then wait for its first report forever.
        reports = 1 if len(self.devices) >= DEVICES_FOR_ALL_STAGES else 0
        stages = [
            {
                "cohort": cohort,
                "percent": percent,
                "advance_when": {"reports": reports},
                "gates": [{"metric": "failure_rate", "max": 0.05}],
            }
            for cohort, percent in STAGES
        ]
        body = {"name": ROLLOUT, "model": MODEL, "version": NEW, "stages": stages}
        self.api.call("POST", "/v1/admin/rollouts", body)
        self.api.call("POST", f"/v1/admin/rollouts/{ROLLOUT}/start", {"reason": "demo"})
        self._step("the rollout advances as devices report", self._poll_until_completed)

    def _poll_until_completed(self) -> None:
        deadline = time.monotonic() + ROLLOUT_TIMEOUT_S
        shown = 0
        while time.monotonic() < deadline:
            devices.poll_all([device for device in self.devices if device.version() != NEW])
            rollout = self.api.call("GET", f"/v1/admin/rollouts/{ROLLOUT}")
            shown = self._print_opened_stages(rollout, shown)
            if rollout["state"] == "halted":
                raise CliError(f"the rollout halted: {rollout['reason']}")
            if rollout["state"] == "completed" and not self._outdated():
                return
            time.sleep(CHECK_INTERVAL_S)
        raise CliError(
            f"the rollout is not completed after {ROLLOUT_TIMEOUT_S:g} s: {len(self._outdated())} devices still run "
            f"{OLD}; see {self._log('api')}"
        )

    def _print_opened_stages(self, rollout: dict[str, Any], shown: int) -> int:
        """Print the stages that opened since the last call; return how many are open."""
        opened = len(STAGES) if rollout["state"] == "completed" else rollout["stage"] + 1
        for number, (cohort, percent) in enumerate(STAGES[shown:opened], shown + 1):
            self.console.print(f"  stage {number}: {percent} % of {cohort}")
        return opened

    def _in_any_cohort(self) -> list[Device]:
        return [
            device
            for device in self.devices
            if device.attributes["app_version"] >= MIN_APP_VERSION
            or device.attributes["user_group"] == "internal"
        ]

    def _outdated(self) -> list[Device]:
        return [device for device in self._in_any_cohort() if device.version() != NEW]

    def _log(self, process: str) -> Path:
        return self.directory.parent / "logs" / f"{process}.log"

    def _result(self, seconds: float) -> dict[str, Any]:
        targeted = self._in_any_cohort()
        updated = [device for device in targeted if device.has_files(self.digests)]
        for device in updated:
            device.accuracy_after = device.accuracy()
        full_size = sum(path.stat().st_size for path in (self.directory / NEW).iterdir())
        sent = sum(device.downloaded_bytes for device in self.devices)
        full_bytes = full_size * len(targeted)
        return {
            "devices": len(self.devices),
            "updated": len(updated),
            "failed": len(targeted) - len(updated),
            "not_in_cohort": len(self.devices) - len(targeted),
            "full_bytes": full_bytes,
            "sent_bytes": sent,
            "saved_ratio": round(1 - sent / full_bytes, 4) if full_bytes else 0.0,
            "accuracy_before": _mean([device.accuracy_before for device in updated]),
            "accuracy_after": _mean([device.accuracy_after for device in updated]),
            "seconds": round(seconds, 1),
        }

    def _step(self, title: str, action: Callable[[], T]) -> T:
        """Run an action, and print its title and duration."""
        started = time.monotonic()
        self.console.print(f"· {title} ...")
        result = action()
        self.console.print(f"  {time.monotonic() - started:.1f} s")
        return result


def _stage_row(stage: dict[str, Any]) -> list[str]:
    counts = stage["outcomes"]
    failed = sum(counts.get(name, 0) for name in ("failed", "rolled_back", "timed_out"))
    figures = [counts.get("offered", 0), counts.get("committed", 0), failed, counts.get("bytes_sent", 0)]
    devices_of = f"{stage['percent']:g} % of {stage['cohort']}"
    return [str(stage["ordinal"] + 1), devices_of, *(f"{figure:,}" for figure in figures)]


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
