"""Reports of a conformance run in JSON, JUnit and Markdown."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from sdk_contract.conformance.runner import Result

MAX_MESSAGE = 300
MARKS = {"passed": "ok", "failed": "**FAILED**", "skipped": "skipped"}


def write(results: Sequence[Result], sdk: str, folder: Path) -> None:
    """Write `conformance.json`, `conformance.xml` and `conformance.md` into an existing folder."""
    (folder / "conformance.json").write_text(as_json(results, sdk), encoding="utf-8")
    (folder / "conformance.xml").write_bytes(as_junit(results))
    (folder / "conformance.md").write_text(as_markdown(results, sdk), encoding="utf-8")


def as_json(results: Sequence[Result], sdk: str) -> str:
    """All results as one JSON object."""
    entries = [
        {
            "name": result.scenario.name,
            "requirement": result.scenario.requirement,
            "attack": result.scenario.attack,
            "verdict": result.verdict,
            "message": result.message,
            "requests": list(result.requests),
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    return json.dumps({"sdk": sdk, "counts": _counts(results), "results": entries}, indent=1) + "\n"


def as_junit(results: Sequence[Result]) -> bytes:
    """All results as one JUnit test suite."""
    counts = _counts(results)
    suite = ET.Element(
        "testsuite",
        name="graylag-conformance",
        tests=str(len(results)),
        failures=str(counts["failed"]),
        skipped=str(counts["skipped"]),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        suite_name, _, name = result.scenario.name.partition(".")
        entry = ET.SubElement(
            suite, "testcase", classname=suite_name, name=name, time=f"{result.seconds:.3f}"
        )
        if result.verdict != "passed":
            kind = "failure" if result.verdict == "failed" else "skipped"
            ET.SubElement(entry, kind, message=_short(result.message)).text = _printable(result.message)
        if result.requests:
            ET.SubElement(entry, "system-out").text = _printable("\n".join(result.requests))
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text


def as_markdown(results: Sequence[Result], sdk: str) -> str:
    """All results as a table, failures first."""
    counts = _counts(results)
    lines = [
        f"# Conformance of `{sdk}`",
        "",
        f"{len(results)} scenarios: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped.",
        "",
        "| scenario | result | requirement | message |",
        "|---|---|---|---|",
    ]
    for result in sorted(results, key=lambda result: result.verdict != "failed"):
        message = _short(result.message).replace("|", "\\|")
        scenario = result.scenario
        lines.append(f"| `{scenario.name}` | {MARKS[result.verdict]} | {scenario.requirement} | {message} |")
    return "\n".join(lines) + "\n"


def _counts(results: Sequence[Result]) -> dict[str, int]:
    counted = Counter(result.verdict for result in results)
    return {"passed": counted["passed"], "failed": counted["failed"], "skipped": counted["skipped"]}


def _short(text: str) -> str:
    """`text` on one line. A long text keeps its start, which has the error, and its end, which has the latest log."""
    line = " ".join(_printable(text).split())
    return (
        line
        if len(line) <= MAX_MESSAGE
        else f"{line[: MAX_MESSAGE // 3]} ... {line[-(MAX_MESSAGE - MAX_MESSAGE // 3) :]}"
    )


def _printable(text: str) -> str:
    """`text` without control characters, which an SDK may print and XML cannot represent."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
