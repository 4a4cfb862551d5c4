"""The same requests over sockets by `wrk`, which takes a tenth of the processor that a generator in Python takes."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from service.cli.bench.asgi import Call
from service.cli.bench.wire import raw

CONNECTIONS = 32
SECONDS = 2
"""Short enough for no prepared request to come twice: signed polls and reports are good once."""
_SCRIPT = """
local requests, at = {}, 0
function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for length in file:lines() do requests[#requests + 1] = file:read(tonumber(length)) end
  file:close()
end
function request() at = at % #requests + 1; return requests[at] end
function done(summary)
  io.write(string.format('\\n{"answers":%d,"refused":%d,"us":%d}\\n', summary.requests, summary.errors.status, summary.duration))
end
"""


class WrkFailed(Exception):
    """`wrk` ended without a result; the message has its words."""


def program() -> str | None:
    """Where `wrk` is, if it is installed."""
    return shutil.which("wrk")


async def per_second(wrk: str, port: int, calls: Sequence[Call], directory: Path) -> float:
    """Requests that a server on loopback has answered with 2xx, a second.

    Raises:
        WrkFailed: there was no result.
    """
    script, requests = directory / "wrk.lua", directory / "requests"
    script.write_text(_SCRIPT)
    requests.write_bytes(b"".join(b"%d\n%s" % (len(one), one) for one in map(raw, calls)))
    process = await asyncio.create_subprocess_exec(
        *(wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script, f"http://127.0.0.1:{port}"),
        *("--", requests),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    try:
        result = json.loads(said.decode().strip().splitlines()[-1])
        return float((result["answers"] - result["refused"]) / result["us"] * 1e6)
    except (ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise WrkFailed(said.decode(errors="replace")[-500:]) from error
