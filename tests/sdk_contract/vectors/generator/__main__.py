"""Writes the golden cases: `python -m tests.sdk_contract.vectors.generator`.

Adds new cases and leaves the existing ones untouched. `--rebuild` writes every case anew; only for a contract that no
SDK uses yet.
"""

import json
import sys
from typing import Any

from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.vectors import FOLDER, digest
from tests.sdk_contract.vectors.generator import (
    envelopes,
    manifests,
    patches,
    server_computed,
    strict_json,
    tokens,
    trust,
)
from tests.sdk_contract.vectors.generator.case import ATTACKS
from tests.sdk_contract.vectors.generator.directives import accepted, malformed, mixed, options, single_fault
from tests.sdk_contract.vectors.generator.invalid import envelopes as invalid_envelopes
from tests.sdk_contract.vectors.generator.invalid import manifest_rules, trust_chains, trust_fields
from tests.sdk_contract.vectors.generator.invalid import manifests as invalid_manifests
from tests.sdk_contract.vectors.generator.keys import (
    DEVICE,
    DIRECTOR,
    PATCHER,
    PUBLISHER,
    PUBLISHER2,
    ROOT,
    ROOT2,
    ROOT3,
    STRANGER,
    b64,
)

NOTICE = "TEST KEYS, published on purpose. Never trust a document that they have signed."
KEYS = (ROOT, ROOT2, ROOT3, PUBLISHER, PUBLISHER2, DIRECTOR, PATCHER, STRANGER, DEVICE)
FAMILIES = {
    "strict_json": (strict_json.cases,),
    "envelope": (envelopes.cases, invalid_envelopes.cases),
    "trust": (trust.cases, trust_chains.cases, trust_fields.cases),
    "manifest": (manifests.cases, manifest_rules.cases, invalid_manifests.cases),
    "directive": (accepted.cases, single_fault.cases, mixed.cases, options.cases, malformed.cases),
    "patch": (patches.cases,),
    "token": (tokens.cases,),
    "bucket": (server_computed.buckets,),
    "semver": (server_computed.semvers,),
    "jitter": (server_computed.jitters,),
}


def main(arguments):
    rebuild = "--rebuild" in arguments
    digests = {} if rebuild else read("digests.json", {})
    attacks: dict[str, dict[str, Any]] = {
        attack: {"what": what, "ids": [], "scenarios": []} for attack, what in ATTACKS.items()
    }
    for family, parts in FAMILIES.items():
        existing = [] if rebuild else read(f"{family}.json", {"cases": []})["cases"]
        entries = add_cases(existing, [entry for cases in parts for entry in cases()])
        assert len({entry["id"] for entry in entries}) == len(entries), family
        write(f"{family}.json", {"family": family, "format": 1, "notice": NOTICE, "cases": entries})
        digests |= {entry["id"]: digest(entry) for entry in entries if entry["id"] not in digests}
        for entry in entries:
            if entry["attack"]:
                attacks[entry["attack"]]["ids"].append(entry["id"])
    for scenario in SCENARIOS:
        if scenario.attack:
            attacks[scenario.attack]["scenarios"].append(scenario.name)
    write("digests.json", digests)
    write("attacks.json", attacks)
    keys = {key.name: {"keyid": key.id, "seed": b64(key.seed), "public": b64(key.public_key)} for key in KEYS}
    write("keys.json", {"notice": NOTICE, "keys": keys})


def add_cases(existing, generated):
    known = {entry["id"] for entry in existing}
    return existing + [entry for entry in generated if entry["id"] not in known]


def read(name, otherwise):
    path = FOLDER / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise


def write(name, content):
    (FOLDER / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
