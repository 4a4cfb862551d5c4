"""Adds what is new to the vectors: `python -m tests.sdk_contract.vectors.making`. What is there stays as it is."""

import json

from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.vectors import FOLDER, digest
from tests.sdk_contract.vectors.making import (
    directives,
    domain,
    envelopes,
    manifests,
    patches,
    strict,
    token_cases,
    trusts,
)
from tests.sdk_contract.vectors.making.case import ATTACKS
from tests.sdk_contract.vectors.making.keys import (
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

NOTICE = "TEST KEYS, known to everybody. Never trust a document that they have signed."
KEYS = (ROOT, ROOT2, ROOT3, PUBLISHER, PUBLISHER2, DIRECTOR, PATCHER, STRANGER, DEVICE)
FAMILIES = {
    "strict_json": strict.cases,
    "envelope": envelopes.cases,
    "trust": trusts.cases,
    "manifest": manifests.cases,
    "directive": directives.cases,
    "patch": patches.cases,
    "token": token_cases.cases,
    "bucket": domain.buckets,
    "semver": domain.semvers,
    "jitter": domain.jitters,
}


def main():
    digests = read("digests.json", {})
    reject = {attack: {"what": what, "ids": [], "scenarios": []} for attack, what in ATTACKS.items()}
    for family, cases in FAMILIES.items():
        kept = read(f"{family}.json", {"cases": []})["cases"]
        known = {entry["id"] for entry in kept}
        kept += [entry for entry in cases() if entry["id"] not in known]
        assert len({entry["id"] for entry in kept}) == len(kept), family
        write(f"{family}.json", {"family": family, "format": 1, "notice": NOTICE, "cases": kept})
        digests |= {entry["id"]: digest(entry) for entry in kept if entry["id"] not in digests}
        for entry in kept:
            if entry["attack"]:
                reject[entry["attack"]]["ids"].append(entry["id"])
    for scenario in SCENARIOS:
        if scenario.attack:
            reject[scenario.attack]["scenarios"].append(scenario.name)
    write("digests.json", digests)
    write("attacks.json", reject)
    keys = {key.name: {"keyid": key.id, "seed": b64(key.seed), "public": b64(key.public_key)} for key in KEYS}
    write("keys.json", {"notice": NOTICE, "keys": keys})


def read(name, otherwise):
    path = FOLDER / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise


def write(name, content):
    (FOLDER / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
