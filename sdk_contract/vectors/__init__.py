"""Test vectors that every SDK must pass: JSON files with inputs, device state and the expected result.

Published cases are never edited or removed; new ones are added. `digests.json` holds the digest of each case.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FAMILIES = (
    "strict_json",
    "envelope",
    "trust",
    "manifest",
    "directive",
    "patch",
    "token",
    "bucket",
    "semver",
    "jitter",
)
Case = dict[str, Any]


def load(family: str) -> list[Case]:
    """The cases of a family, in the order in which they were added."""
    content = json.loads((FOLDER / f"{family}.json").read_text(encoding="utf-8"))
    cases: list[Case] = content["cases"]
    return cases


def digest(case: Case) -> str:
    """SHA-256 of a case's JSON with sorted keys and without whitespace, in hex."""
    text = json.dumps(case, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
