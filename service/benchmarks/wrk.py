"""Load from `wrk`, which needs a tenth of the CPU time of a load generator in Python."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from service.testbed.asgi import PreparedRequest
from service.testbed.connection import to_http1

CONNECTIONS = 32
DURATION_S = 2
"""Short, so that no prepared request is sent twice: signed polls and events are valid only once."""
_SCRIPT = """
local requests, at = {}, 0
function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for length in file:lines() do requests[#requests + 1] = file:read(tonumber(length)) end
  file:close()
end
function request() at = at % #requests + 1; return requests[at] end
function done(summary)
  io.write(string.format('\\n{"responses":%d,"errors":%d,"us":%d}\\n', summary.requests, summary.errors.status, summary.duration))
end
"""


class WrkFailed(Exception):
    """`wrk` ended without a result; the message is the end of its output."""


def find_wrk() -> str | None:
    """Path of `wrk`; None if it is not installed."""
    return shutil.which("wrk")


async def successes_per_second(
    wrk: str, port: int, requests: Sequence[PreparedRequest], directory: Path
) -> float:
    """Rate of 2xx responses from a server on loopback.

    Args:
        wrk: path of the program.
        port: port of the server.
        requests: sent in turn.
        directory: for the script and the requests.

    Raises:
        WrkFailed: `wrk` printed no result.
    """
    script, prepared = directory / "wrk.lua", directory / "requests"
    script.write_text(_SCRIPT)
    prepared.write_bytes(b"".join(b"%d\n%s" % (len(one), one) for one in map(to_http1, requests)))
    process = await asyncio.create_subprocess_exec(
        *(wrk, "-t1", f"-c{CONNECTIONS}", f"-d{DURATION_S}s", "-s", script, f"http://127.0.0.1:{port}"),
        *("--", prepared),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    try:
        result = json.loads(output.decode().strip().splitlines()[-1])
        return float((result["responses"] - result["errors"]) / result["us"] * 1e6)
    except (ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise WrkFailed(output.decode(errors="replace")[-500:]) from error
