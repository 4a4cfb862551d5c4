"""The session of one scenario: one device directory, one fake server, the SDK, and expectations about them."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from sdk_contract.conformance.fake_server.content import (
    patch_to_patched_content,
    patched_content,
    random_content,
)
from sdk_contract.conformance.fake_server.server import FakeServer
from sdk_contract.conformance.fake_server.tampering import Tampering
from sdk_contract.conformance.fake_server.values import TOKEN, unchecked_json
from sdk_contract.conformance.sdk import CommandResult, CommandSdk, Sdk

DEVICE = "dev-1"


class ScenarioFailed(Exception):
    """The SDK did not meet the scenario's requirement."""


class ScenarioSkipped(Exception):
    """The scenario cannot run with this kind of SDK."""


class Session:
    """One device and its server."""

    def __init__(self, server: FakeServer, sdk: Sdk, folder: Path) -> None:
        """Start without an enrolled device."""
        self.server = server
        self.sdk = sdk
        self.folder = folder
        self.directory = folder / "device"
        self.wanted_components: Sequence[str] | None = None
        self.shipped_trust_bundle = server.trust_chain[0]

    # -- actions --------------------------------------------------------------------------------

    def start_with_offer(self, *, patch: bool = False, floor: int = 0) -> "Session":
        """Enroll a device that shipped with `v1`, and offer `v2`; with a patch between them if `patch`."""
        old = {"backbone": random_content("backbone"), "tokenizer": random_content("tokenizer", 4096)}
        new = {"backbone": patched_content(old["backbone"]), "tokenizer": old["tokenizer"]}
        self.server.publish("v1", 1, old)
        self.server.publish("v2", 2, new, floor=floor)
        if patch:
            self.server.add_patch(old["backbone"], patch_to_patched_content(old["backbone"]))
        self.enroll("v1")
        self.server.offered = "v2"
        return self

    def offer_version(self, label: str, counter: int, files: dict[str, bytes]) -> "Session":
        """Publish a version and offer it."""
        self.server.publish(label, counter, files)
        self.server.offered = label
        return self

    def enroll(self, shipped: str | None = None, wanted_components: Sequence[str] | None = None) -> None:
        """Run `init`; it must succeed."""
        result = self.init(shipped, wanted_components)
        if result.exit_code != 0:
            raise ScenarioFailed(f"init ended with {result.exit_code}: {result.code} {result.log}")

    def init(
        self, shipped: str | None = None, wanted_components: Sequence[str] | None = None, token: str = TOKEN
    ) -> CommandResult:
        """Run `init`; it may fail."""
        self.wanted_components = wanted_components
        trust = self.folder / "trust.json"
        trust.write_bytes(self.shipped_trust_bundle)
        arguments = ["init", "--dir", str(self.directory), "--server", self.server.base_url, "--token", token]
        arguments += ["--trust", str(trust), "--device-id", DEVICE]
        if shipped is not None:
            arguments += ["--shipped", str(self._write_shipped_folder(shipped))]
        for name in wanted_components or ():
            arguments += ["--component", name]
        return self.sdk.call(arguments)

    def _write_shipped_folder(self, label: str) -> Path:
        folder = self.folder / "shipped"
        folder.mkdir(exist_ok=True)
        version = self.server.versions[label]
        manifest = self.server.manifest_envelope(version, self.server.tampering.manifest)
        (folder / "manifest.json").write_bytes(unchecked_json(manifest))
        for name, data in version.files.items():
            (folder / f"{name}.bin").write_bytes(data)
        return folder

    def update(self, smoke: str = "good") -> CommandResult:
        """Run `update`; it may fail, but must not crash unless the smoke test does."""
        smoke_arguments = [] if smoke == "good" else ["--smoke", smoke]
        result = self.sdk.call(["update", "--dir", str(self.directory), *smoke_arguments])
        if result.exit_code not in (0, 1) and smoke != "crash":
            raise ScenarioFailed(f"update crashed with {result.exit_code}: {result.log}")
        return result

    def largest_file_during_update(self) -> int:
        """Run `update`; return the size in bytes of the largest file that the directory had meanwhile."""
        largest, done = 0, threading.Event()

        def watch() -> None:
            nonlocal largest
            while not done.wait(0.005):
                for path in self.directory.rglob("*"):
                    with contextlib.suppress(OSError):
                        largest = max(largest, path.stat().st_size)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.update()
        finally:
            done.set()
            watcher.join()
        return largest

    def interrupt(self, when: Callable[[], bool]) -> None:
        """Run `update`; kill it as soon as `when` returns True."""
        if not isinstance(self.sdk, CommandSdk):
            raise ScenarioSkipped("needs an SDK that runs in a separate process")
        if not self.sdk.interrupt(["update", "--dir", str(self.directory)], when):
            raise ScenarioFailed("update ended before it could be killed")

    def restore_server(self) -> None:
        """Remove all tampering and all faults."""
        self.server.tampering = Tampering()
        self.server.faults.clear()

    # -- expectations ---------------------------------------------------------------------------

    def expect_update_to(self, label: str) -> None:
        """Run `update`; it must succeed, and `label` must run afterwards."""
        result = self.update()
        if result.exit_code != 0:
            raise ScenarioFailed(f"update ended with {result.exit_code}: {result.output or result.log}")
        self.expect_running(label)

    def expect_refusal(self, *codes: str, runs: str | None = "v1") -> None:
        """Run `update`; it must fail with one of `codes`, and `runs` must still run."""
        result = self.update()
        if result.exit_code != 1:
            raise ScenarioFailed(f"update ended with {result.exit_code} ({result.output}), must be 1")
        if result.code not in codes:
            raise ScenarioFailed(f"code {result.code!r}, must be {' or '.join(codes)}")
        self.expect_running(runs)

    def expect_unchanged(self, label: str = "v1") -> None:
        """Run `update`; it must find nothing to do, and `label` must still run."""
        self.expect_update_to(label)

    def expect_running(self, label: str | None) -> None:
        """Run `status`; it must name `label`, and the files must be the published ones."""
        result = self.sdk.call(["status", "--dir", str(self.directory)])
        if result.exit_code != 0:
            raise ScenarioFailed(f"status ended with {result.exit_code}: {result.log}")
        if result.output.get("version") != label:
            raise ScenarioFailed(f"version {result.output.get('version')} runs, must be {label}")
        if label is not None:
            self._expect_files(label, result.output.get("components", {}))

    def _expect_files(self, label: str, paths: dict[str, str]) -> None:
        files = self.server.versions[label].files
        wanted = {name: files[name] for name in (self.wanted_components or files)}
        if set(paths) != set(wanted):
            raise ScenarioFailed(f"components {sorted(paths)} of {label}, must be {sorted(wanted)}")
        for name, data in wanted.items():
            if Path(paths[name]).read_bytes() != data:
                raise ScenarioFailed(f"{name} of {label} is not the published file")

    def expect_trust_version(self, version: int) -> None:
        """Run `status`; it must name this version of the trust bundle."""
        result = self.sdk.call(["status", "--dir", str(self.directory)])
        found = result.output.get("trust_version")
        if found != version:
            raise ScenarioFailed(f"trust bundle {found}, must be {version}")

    def require(self, condition: object, message: str) -> None:
        """Fail with `message` unless `condition` is true."""
        if not condition:
            raise ScenarioFailed(message)

    def downloaded_digests(self) -> list[str]:
        """Digests of the objects that the SDK requested, in order."""
        paths = [request.path for request in self.server.requests_to("/objects/")]
        return [path.split("/")[-1].partition("?")[0] for path in paths]

    def check_invariants(self) -> None:
        """Check what every SDK must do in every scenario."""
        for request in self.server.requests_to("/objects/"):
            self.require("Authorization" not in request.headers, "the access token was sent to a store")
        nonces = [poll.nonce for poll in self.server.polls]
        self.require(all(nonces), "a poll had no nonce")
        self.require(len(set(nonces)) == len(nonces), "two polls had the same nonce")
        last_seq: defaultdict[str, int] = defaultdict(lambda: -1)
        for event in self.server.events.values():
            attempt = event.get("attempt_id")
            if attempt is not None and event["state"] not in ("metrics", "rejected"):
                self.require(event.get("seq", 0) > last_seq[attempt], "seq did not rise within an attempt")
                last_seq[attempt] = event.get("seq", 0)
