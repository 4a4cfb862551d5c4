"""Bringing files to the object store: hashed, in parallel parts, resumable."""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import httpx2
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.cli.http import AdminApi, CliError

PARALLEL = 4
CHUNK = 1 << 20
ATTEMPTS = 5
PART_SILENCE_S = 20.0
"""A store that says nothing for so long is asked again on a new connection."""
URLS_AT_ONCE = 100
FORBIDDEN = 403

Advance = Callable[[int], None]


@contextmanager
def bar(console: Console, title: str, total: int) -> Iterator[Advance]:
    """A progress bar on a terminal; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def sha256_of(path: Path, advance: Advance) -> str:
    """SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def bring(api: AdminApi, path: Path, sha256: str, advance: Advance) -> int:
    """Upload what is missing of a file; return how many bytes were sent.

    Raises:
        CliError: the server or the store refuses, or the file changes while it is read.
    """
    upload = api.call("POST", "/v1/admin/uploads", {"sha256": sha256})
    size = path.stat().st_size
    if upload["stored"]:
        advance(size)
        return 0
    parts: list[int] = upload["parts"]
    lengths = {number: _length(number, upload) for number in parts}
    advance(size - sum(lengths.values()))
    with (
        httpx2.Client(timeout=PART_SILENCE_S, trust_env=False) as store,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        for start in range(0, len(parts), URLS_AT_ONCE):
            batch = parts[start : start + URLS_AT_ONCE]
            part = _PartUpload(api, store, path, upload["upload_id"], upload["part_bytes"])
            part.fetch_urls(batch)
            for done in as_completed([pool.submit(part.send, number, lengths[number]) for number in batch]):
                advance(done.result())
    api.call("POST", f"/v1/admin/uploads/{upload['upload_id']}/complete")
    return sum(lengths.values())


def _length(number: int, upload: dict[str, int]) -> int:
    start = (number - 1) * upload["part_bytes"]
    return min(upload["part_bytes"], upload["size"] - start)


class _PartUpload:
    """Sends single parts; a URL that has run out is asked for again."""

    def __init__(
        self, api: AdminApi, store: httpx2.Client, path: Path, upload_id: str, part_bytes: int
    ) -> None:
        self._api = api
        self._store = store
        self._path = path
        self._upload_id = upload_id
        self._part_bytes = part_bytes
        self._urls: dict[int, str] = {}

    def fetch_urls(self, numbers: list[int]) -> None:
        answer = self._api.call("POST", f"/v1/admin/uploads/{self._upload_id}/parts", {"numbers": numbers})
        self._urls.update({int(number): url for number, url in answer["urls"].items()})

    def send(self, number: int, length: int) -> int:
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._part_bytes)
            data = file.read(length)
        if len(data) != length:
            raise CliError(f"{self._path} became shorter while it was uploaded")
        for attempt in range(ATTEMPTS):
            if self._put(number, data):
                return length
            time.sleep(0.2 * 2**attempt)
        raise CliError(f"the object store did not take part {number} of {self._path} in {ATTEMPTS} attempts")

    def _put(self, number: int, data: bytes) -> bool:
        try:
            response = self._store.put(self._urls[number], content=data)
        except httpx2.HTTPError:
            return False
        if response.status_code == FORBIDDEN:
            self.fetch_urls([number])
        return response.is_success
