"""Where a scenario plays: one server, one device directory, one SDK, and what may be asked of them."""

import contextlib
import os
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from sdk_contract.conformance import patching
from sdk_contract.conformance.facts import TOKEN, encode
from sdk_contract.conformance.lies import Lies
from sdk_contract.conformance.patching import Piece
from sdk_contract.conformance.sdk import CommandSdk, Reply, Sdk
from sdk_contract.conformance.world import World

DEVICE = "dev-1"
SIZE = 48 * 1024
GAP = 512


class Failed(Exception):
    """The SDK did something that it must not do, or did not do what it must."""


class Skipped(Exception):
    """The scenario cannot be played at this kind of SDK."""


def content(seed: str, size: int = SIZE) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - content, not a secret


def tuned(data: bytes) -> bytes:
    """`data` with a gap of zeros in its middle and its first bytes repeated behind it."""
    half = len(data) // 2
    return data[:half] + bytes(GAP) + data[half + GAP :] + data[:GAP]


def tuning(data: bytes) -> patching.Patch:
    """The patch from `data` to `tuned(data)`."""
    half, size = len(data) // 2, len(data)
    pieces = [
        Piece(half, 0),
        Piece(GAP),
        Piece(size - half - GAP, half + GAP),
        Piece(GAP, 0),
    ]
    return patching.build(data, pieces)


def damage(path: str | Path) -> None:
    """Change one byte in the first half of a file that may be read-only and linked."""
    real = Path(path).resolve()
    mode = real.stat().st_mode
    real.chmod(0o600)
    with real.open("r+b") as file:
        file.seek(real.stat().st_size // 4)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    real.chmod(mode)


class Stage:
    """One device and its server."""

    def __init__(self, world: World, sdk: Sdk, folder: Path) -> None:
        """Nobody has enrolled yet."""
        self.world = world
        self.sdk = sdk
        self.folder = folder
        self.directory = folder / "device"
        self.modules: Sequence[str] | None = None
        self.shipped_trust = world.chain[0]

    # -- what a scenario does -------------------------------------------------------------------

    def ready(self, *, patch: bool = False, floor: int = 0) -> "Stage":
        """A device that shipped with `v1`, and a server that offers `v2`."""
        old = {"backbone": content("backbone"), "tokenizer": content("tokenizer", 4096)}
        new = {"backbone": tuned(old["backbone"]), "tokenizer": old["tokenizer"]}
        self.world.publish("v1", 1, old)
        self.world.publish("v2", 2, new, floor=floor)
        if patch:
            self.world.add_patch(old["backbone"], tuning(old["backbone"]))
        self.enrol("v1")
        self.world.offered = "v2"
        return self

    def enrol(self, shipped: str | None = None, modules: Sequence[str] | None = None) -> None:
        """`init`, which must succeed."""
        reply = self.init(shipped, modules)
        if reply.exit_code != 0:
            raise Failed(f"init ended with {reply.exit_code}: {reply.code} {reply.log}")

    def init(
        self, shipped: str | None = None, modules: Sequence[str] | None = None, token: str = TOKEN
    ) -> Reply:
        """`init`, however it ends."""
        self.modules = modules
        trust = self.folder / "trust.json"
        trust.write_bytes(self.shipped_trust)
        arguments = ["init", "--dir", str(self.directory), "--server", self.world.base, "--token", token]
        arguments += ["--trust", str(trust), "--device-id", DEVICE]
        if shipped is not None:
            arguments += ["--shipped", str(self._ship(shipped))]
        for module in modules or ():
            arguments += ["--module", module]
        return self.sdk.call(arguments)

    def _ship(self, label: str) -> Path:
        folder = self.folder / "shipped"
        folder.mkdir(exist_ok=True)
        version = self.world.versions[label]
        (folder / "manifest.json").write_bytes(encode(self.world.manifest(version, self.world.lies.manifest)))
        for name, data in version.files.items():
            (folder / f"{name}.bin").write_bytes(data)
        return folder

    def update(self, smoke: str = "good") -> Reply:
        """`update`, however it ends; anything but 0 and 1 is a crash."""
        reply = self.sdk.call(
            ["update", "--dir", str(self.directory), *(["--smoke", smoke] if smoke != "good" else [])]
        )
        if reply.exit_code not in (0, 1) and smoke != "crash":
            raise Failed(f"update crashed with {reply.exit_code}: {reply.log}")
        return reply

    def largest_file_during_update(self) -> int:
        """`update`, however it ends; bytes of the largest file that was seen in the directory meanwhile."""
        largest, over = 0, threading.Event()

        def watch() -> None:
            nonlocal largest
            while not over.wait(0.005):
                for path in self.directory.rglob("*"):
                    with contextlib.suppress(OSError):
                        largest = max(largest, path.stat().st_size)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.update()
        finally:
            over.set()
            watcher.join()
        return largest

    def interrupt(self, when: Callable[[], bool]) -> None:
        """`update`, killed once `when` says so."""
        if not isinstance(self.sdk, CommandSdk):
            raise Skipped("needs an SDK in a process of its own")
        if not self.sdk.interrupt(["update", "--dir", str(self.directory)], when):
            raise Failed("update ended before it could be killed")

    def honest(self) -> None:
        """The server stops lying and failing."""
        self.world.lies = Lies()
        self.world.faults.clear()

    # -- what a scenario asks -------------------------------------------------------------------

    def updates_to(self, label: str) -> None:
        """`update` must succeed and leave `label` running."""
        reply = self.update()
        if reply.exit_code != 0:
            raise Failed(f"update ended with {reply.exit_code}: {reply.told or reply.log}")
        self.runs(label)

    def refuses(self, *codes: str, runs: str | None = "v1") -> None:
        """`update` must fail with one of `codes`, and leave `runs` running."""
        reply = self.update()
        if reply.exit_code != 1:
            raise Failed(f"update ended with {reply.exit_code} ({reply.told}), must refuse")
        if reply.code not in codes:
            raise Failed(f"refused as {reply.code!r}, must be {' or '.join(codes)}")
        self.runs(runs)

    def stays(self, runs: str = "v1") -> None:
        """`update` finds nothing to do."""
        self.updates_to(runs)

    def runs(self, label: str | None) -> None:
        """`status` must name `label`, and its files must be those of the publisher, byte for byte."""
        reply = self.sdk.call(["status", "--dir", str(self.directory)])
        if reply.exit_code != 0:
            raise Failed(f"status ended with {reply.exit_code}: {reply.log}")
        if reply.told.get("version") != label:
            raise Failed(f"runs {reply.told.get('version')}, must run {label}")
        if label is None:
            return
        files = self.world.versions[label].files
        wanted = {name: files[name] for name in (self.modules or files)}
        found = reply.told.get("components", {})
        if set(found) != set(wanted):
            raise Failed(f"holds {sorted(found)} of {label}, must hold {sorted(wanted)}")
        for name, data in wanted.items():
            if Path(found[name]).read_bytes() != data:
                raise Failed(f"{name} of {label} has other bytes than were published")

    def trusts(self, version: int) -> None:
        """`status` must name the version of the trust bundle."""
        found = self.sdk.call(["status", "--dir", str(self.directory)]).told.get("trust_version")
        if found != version:
            raise Failed(f"trusts bundle {found}, must trust {version}")

    def require(self, truth: object, message: str) -> None:
        """Fail with `message` unless `truth`."""
        if not truth:
            raise Failed(message)

    def downloaded(self) -> list[str]:
        """Digests of the objects that were asked for, in order."""
        return [entry.path.split("/")[-1].partition("?")[0] for entry in self.world.requests("/objects/")]

    def check_manners(self) -> None:
        """What holds for every SDK in every scenario."""
        for entry in self.world.requests("/objects/"):
            self.require("Authorization" not in entry.headers, "a store was shown our token")
        nonces = [poll.nonce for poll in self.world.polls]
        self.require(all(nonces), "a poll without a nonce")
        self.require(len(set(nonces)) == len(nonces), "a nonce was used twice")
        last: defaultdict[str, int] = defaultdict(lambda: -1)
        for event in self.world.events.values():
            attempt = event.get("attempt_id")
            if attempt is not None and event["state"] not in ("metrics", "rejected"):
                self.require(event.get("seq", 0) > last[attempt], "seq does not rise within an attempt")
                last[attempt] = event.get("seq", 0)
