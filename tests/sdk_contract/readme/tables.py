"""The tables of errors and attacks in `sdk_contract/README.md`, made from the code and the vectors."""

import json

from sdk_contract import errors
from sdk_contract.client import errors as client_errors
from sdk_contract.client.storage import update_states
from sdk_contract.errors import ContractError
from sdk_contract.patch import errors as patch_errors
from sdk_contract.vectors import FOLDER

MODULES = (errors, client_errors, update_states, patch_errors)
ABSTRACT = (ContractError, patch_errors.PatchError)
SHOWN = 6
DEFENSES = {
    "arbitrary_software": "publishers sign manifests, the director directives, the patcher patches; signatures are verified before parsing",
    "rollback": "the device remembers counter and floor; only a fresh directive orders an older version, never below the floor",
    "freeze": "every directive, also without an offer, carries the nonce and the request digest; expired documents start no install",
    "fast_forward": "counters and bundle versions count only after verification; bundle N + 1 follows N; a manifest raises the floor by 2^31 at most",
    "mix_and_match": "one manifest names all files, the directive names the manifest; all components switch together",
    "endless_data": "size limits before parsing; signed sizes are hard limits; free space is checked first",
    "wrong_software": "the directive names device and variant",
    "key_compromise": "four roles; thresholds count different keys; root keys rotate the other keys, and bundle N + 1 needs the roots of N and N + 1",
    "slow_retrieval": "timeouts, a minimum rate, resumed downloads, a limited number of tries",
    "malicious_mirror": "URLs are not trusted: size and digest decide; no redirects, no access token to a store",
    "replay": "the directive carries device, nonce and request digest; assertions live minutes and are used once",
    "parser_differences": "strict JSON, one form of base64, one form of time",
}


def error_table():
    kinds = {kind.code: kind for kind in _errors()}
    rows = sorted((kind.number, kind.code, kind.reaction.value, _sentence(kind)) for kind in kinds.values())
    lines = [f"| {number} | `{code}` | {reaction} | {text} |" for number, code, reaction, text in rows]
    return "\n".join(["| number | code | reaction | meaning |", "|--:|---|---|---|", *lines])


def attack_table():
    listed = json.loads((FOLDER / "attacks.json").read_text(encoding="utf-8"))
    lines = [
        f"| **{attack.replace('_', ' ')}**: {entry['what']} | {DEFENSES[attack]} |"
        f" {_some(entry['ids'])} | {_some(entry['scenarios'])} |"
        for attack, entry in listed.items()
    ]
    return "\n".join(["| attack | defense | vectors | scenarios |", "|---|---|---|---|", *lines])


def _errors():
    """All errors that a device reports; an error may be importable from two modules."""
    for module in MODULES:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, ContractError) and kind not in ABSTRACT:
                yield kind


def _sentence(kind):
    return (kind.__doc__ or "").strip().splitlines()[0].replace("|", "/")


def _some(names):
    """Some of the names, evenly spread; `vectors/attacks.json` has all of them."""
    step = max(1, len(names) // SHOWN)
    shown = ", ".join(f"`{name}`" for name in names[::step][:SHOWN])
    return f"{shown}, {len(names)} in all" if len(names) > SHOWN else shown
