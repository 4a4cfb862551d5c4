"""`graylag audit`: list the audit log and verify its hash chain."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import format_time, print_json, print_table
from service.domain.platform.audit_chain import ChainCheck, ChainEntry, verify_chain

app = typer.Typer(help="List and verify the audit log.", no_args_is_help=True)

BASE = "/v1/admin/audit"
PAGE_SIZE = 1000
LARGEST_ID = 2**63 - 1


@app.command("list")
def list_entries(
    subject: Annotated[
        str | None, typer.Option(help="Only entries about this subject, for example rollout:autumn.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of entries.")] = 50,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest entries, in chronological order."""
    filter_ = f"&subject={quote_segment(subject)}" if subject else ""
    with AdminApi.from_environment(url, token) as api:
        entries = api.call("GET", f"{BASE}?before={LARGEST_ID}&limit={limit}{filter_}")
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            entry["id"],
            format_time(entry["at"]),
            entry["actor"],
            entry["verb"],
            entry["subject"],
            entry["detail"].get("reason", ""),
        )
        for entry in entries
    ]
    print_table(("id", "at", "actor", "verb", "subject", "reason"), rows, empty="the audit log is empty")


@app.command("verify")
def verify(
    expect: Annotated[
        str | None,
        typer.Option(help="Head hash printed by an earlier run; the log must still contain it."),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the hash chain of the whole log; exit with status 1 at the first invalid entry.

    The chain cannot reveal that entries were cut off at the end. Keep the printed head hash outside the server,
    and pass it as --expect next time.
    """
    with AdminApi.from_environment(url, token) as api:
        check = verify_chain(_all_entries(api), expected=expect)
    valid = check.fault is None and (expect is None or check.passed)
    if as_json:
        print_json(_result(check, expect, valid=valid))
    else:
        typer.echo(_result_text(check, expect))
    raise typer.Exit(0 if valid else 1)


def _all_entries(api: AdminApi) -> Iterator[ChainEntry]:
    after = 0
    while page := api.call("GET", f"{BASE}?after={after}&limit={PAGE_SIZE}"):
        for entry in page:
            yield ChainEntry(
                id=entry["id"],
                at=datetime.fromisoformat(entry["at"]),
                actor=entry["actor"],
                verb=entry["verb"],
                subject=entry["subject"],
                detail=entry["detail"],
                hash=entry["hash"],
            )
        after = page[-1]["id"]


def _result(check: ChainCheck, expect: str | None, *, valid: bool) -> dict[str, Any]:
    fault = check.fault
    return {
        "valid": valid,
        "entries": check.entries,
        "head": check.head,
        "fault": None
        if fault is None
        else {"id": fault.id, "at": fault.at, "verb": fault.verb, "subject": fault.subject},
        "expected_found": None if expect is None else check.passed,
    }


def _result_text(check: ChainCheck, expect: str | None) -> str:
    summary = f"{check.entries:,} entries are valid; head {check.head}"
    fault = check.fault
    if fault is not None:
        entry = f"{fault.verb} on {fault.subject} by {fault.actor}, {fault.at.isoformat()}"
        return f"{summary}\nentry {fault.id} is invalid: it or an entry before it was changed or removed ({entry})"
    if expect is not None and not check.passed:
        return f"{summary}\nthe log does not contain {expect}: entries were cut off, or the log was rewritten"
    return summary
