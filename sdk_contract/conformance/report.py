"""What came of a run, for machines (JSON, JUnit) and for people (Markdown)."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from sdk_contract.conformance.runner import Result

LONGEST = 300
MARKS = {"passed": "ok", "failed": "**FAILED**", "skipped": "skipped"}


def write(results: Sequence[Result], sdk: str, folder: Path) -> None:
    """Write `conformance.json`, `conformance.xml` and `conformance.md` into `folder`, which is there."""
    (folder / "conformance.json").write_text(as_json(results, sdk), encoding="utf-8")
    (folder / "conformance.xml").write_bytes(as_junit(results))
    (folder / "conformance.md").write_text(as_markdown(results, sdk), encoding="utf-8")


def as_json(results: Sequence[Result], sdk: str) -> str:
    """All results as one JSON object."""
    entries = [
        {
            "name": result.scenario.name,
            "text": result.scenario.text,
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
        group, _, words = result.scenario.name.partition(".")
        entry = ET.SubElement(suite, "testcase", classname=group, name=words, time=f"{result.seconds:.3f}")
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
        f"Of {len(results)}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped.",
        "",
        "| scenario | | what must hold | what happened |",
        "|---|---|---|---|",
    ]
    order = sorted(results, key=lambda result: result.verdict != "failed")
    for result in order:
        message = _short(result.message).replace("|", "\\|")
        entry = result.scenario
        lines.append(f"| `{entry.name}` | {MARKS[result.verdict]} | {entry.text} | {message} |")
    return "\n".join(lines) + "\n"


def _counts(results: Sequence[Result]) -> dict[str, int]:
    counted = Counter(result.verdict for result in results)
    return {"passed": counted["passed"], "failed": counted["failed"], "skipped": counted["skipped"]}


def _short(text: str) -> str:
    """One line: the beginning says what was wrong, the end of a log why."""
    line = " ".join(_printable(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 3]} ... {line[-(LONGEST - LONGEST // 3) :]}"


def _printable(text: str) -> str:
    """What an SDK prints may hold characters that XML has no form for."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
