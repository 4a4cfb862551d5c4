"""Upload files to the object store: by digest, in parallel parts, resumable."""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import httpx2
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.cli.admin_api import AdminApi
from service.cli.errors import CliError

PARALLEL_PARTS = 4
READ_BYTES = 1 << 20
ATTEMPTS_PER_PART = 5
PART_TIMEOUT_S = 20.0
"""After this long without a byte from the store, the part is sent again on a new connection."""
URLS_PER_REQUEST = 100
FORBIDDEN = 403

Advance = Callable[[int], None]
"""Adds a number of bytes to a progress bar."""


@contextmanager
def progress_bar(console: Console, title: str, total: int) -> Iterator[Advance]:
    """Show a progress bar, on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def sha256_of(path: Path, advance: Advance) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def upload_file(api: AdminApi, path: Path, sha256: str, advance: Advance) -> int:
    """Upload the parts of a file that the store lacks; return the number of bytes sent.

    Raises:
        CliError: the server or the store answers with an error, or the file shrinks while it is read.
    """
    upload = api.call("POST", "/v1/admin/uploads", {"sha256": sha256})
    size = path.stat().st_size
    if upload["stored"]:
        advance(size)
        return 0
    parts: list[int] = upload["missing_parts"]
    lengths = {number: _part_length(number, upload) for number in parts}
    advance(size - sum(lengths.values()))
    with (
        httpx2.Client(timeout=PART_TIMEOUT_S, trust_env=False) as store,
        ThreadPoolExecutor(PARALLEL_PARTS) as pool,
    ):
        for start in range(0, len(parts), URLS_PER_REQUEST):
            batch = parts[start : start + URLS_PER_REQUEST]
            uploader = _PartUploader(api, store, path, upload["upload_id"], upload["part_bytes"])
            uploader.fetch_urls(batch)
            for sent in as_completed(
                [pool.submit(uploader.send, number, lengths[number]) for number in batch]
            ):
                advance(sent.result())
    api.call("POST", f"/v1/admin/uploads/{upload['upload_id']}/complete")
    return sum(lengths.values())


def _part_length(number: int, upload: dict[str, int]) -> int:
    start = (number - 1) * upload["part_bytes"]
    return min(upload["part_bytes"], upload["size"] - start)


class _PartUploader:
    """Sends single parts; requests a new URL when one has expired."""

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
        response = self._api.call("POST", f"/v1/admin/uploads/{self._upload_id}/parts", {"numbers": numbers})
        self._urls.update({int(number): url for number, url in response["urls"].items()})

    def send(self, number: int, length: int) -> int:
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._part_bytes)
            data = file.read(length)
        if len(data) != length:
            raise CliError(f"{self._path} became shorter during the upload; publish it again")
        for attempt in range(ATTEMPTS_PER_PART):
            if self._put(number, data):
                return length
            time.sleep(0.2 * 2**attempt)
        raise CliError(
            f"the object store did not accept part {number} of {self._path} in {ATTEMPTS_PER_PART} attempts; "
            "run the same command again to resume"
        )

    def _put(self, number: int, data: bytes) -> bool:
        try:
            response = self._store.put(self._urls[number], content=data)
        except httpx2.HTTPError:
            return False
        if response.status_code == FORBIDDEN:
            self.fetch_urls([number])
        return response.is_success
