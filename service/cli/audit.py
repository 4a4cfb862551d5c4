"""`graylag audit`: who did what and why, and whether anybody has changed the story since."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer

from service.cli.http import AdminApi, quoted
from service.cli.options import AsJson, Token, Url, show_json, show_table, to_the_second
from service.domain.audit_chain import Entry, Finding, walk

app = typer.Typer(help="The audit log: who did what and why.", no_args_is_help=True)

BASE = "/v1/admin/audit"
PAGE = 1000
NEWEST = 2**63 - 1


@app.command("list")
def list_entries(
    subject: Annotated[str | None, typer.Option(help="About this only, for example rollout:autumn.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 50,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The newest entries, oldest of them first."""
    about = f"&subject={quoted(subject)}" if subject else ""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}?before={NEWEST}&limit={limit}{about}")
    if as_json:
        show_json(found)
        return
    rows = [(e["id"], to_the_second(e["at"]), e["actor"], e["verb"], e["subject"], _why(e)) for e in found]
    show_table(("entry", "at", "who", "did", "to", "why"), rows, empty="nothing has been done yet")


@app.command("verify")
def verify(
    expect: Annotated[
        str | None, typer.Option(help="A head hash kept elsewhere: the log must still contain it.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Walk the whole chain; status 1 at the first entry that does not fit.

    Entries cut off at the end leave no gap: keep the printed head somewhere else, and give it as --expect next time.
    """
    with AdminApi.from_environment(url, token) as api:
        finding = walk(_entries(api), looking_for=expect)
    whole = finding.fault is None and (expect is None or finding.passed)
    if as_json:
        show_json(
            {"whole": whole, "entries": finding.entries, "head": finding.head, **_fault(finding, expect)}
        )
    else:
        typer.echo(_verdict(finding, expect))
    raise typer.Exit(0 if whole else 1)


def _entries(api: AdminApi) -> Iterator[Entry]:
    after = 0
    while page := api.call("GET", f"{BASE}?after={after}&limit={PAGE}"):
        for entry in page:
            yield Entry(
                id=entry["id"],
                at=datetime.fromisoformat(entry["at"]),
                actor=entry["actor"],
                verb=entry["verb"],
                subject=entry["subject"],
                detail=entry["detail"],
                hash=entry["hash"],
            )
        after = page[-1]["id"]


def _fault(finding: Finding, expect: str | None) -> dict[str, Any]:
    fault = finding.fault
    shown = (
        None
        if fault is None
        else {"id": fault.id, "at": fault.at, "verb": fault.verb, "subject": fault.subject}
    )
    return {"fault": shown, "expected_found": None if expect is None else finding.passed}


def _verdict(finding: Finding, expect: str | None) -> str:
    fits = f"{finding.entries:,} entries fit; head {finding.head}"
    fault = finding.fault
    if fault is not None:
        what = f"{fault.verb} on {fault.subject} by {fault.actor}, {fault.at.isoformat()}"
        return f"{fits}\nentry {fault.id} does not fit: it, or one before it, was changed or removed ({what})"
    if expect is not None and not finding.passed:
        return f"{fits}\n{expect} is not in the log: entries were cut off, or all was written anew"
    return fits


def _why(entry: dict[str, Any]) -> str:
    return str(entry["detail"].get("reason", ""))
