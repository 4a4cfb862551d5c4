"""The two tables of `sdk_contract/README.md` that follow from the code: `python -m tests.sdk_contract.vectors.making.tables`."""

import json
from pathlib import Path

import sdk_contract
from sdk_contract import errors
from sdk_contract.client import errors as client_errors
from sdk_contract.client import states
from sdk_contract.errors import ContractError
from sdk_contract.patch import errors as patch_errors
from sdk_contract.vectors import FOLDER

README = Path(sdk_contract.__file__).parent / "README.md"
MODULES = (errors, client_errors, states, patch_errors)
ABSTRACT = (ContractError, patch_errors.PatchError)
SHOWN = 6
ANSWERS = {
    "arbitrary_software": "manifests by a publisher quorum, directives by the director, patches by the patcher; verified before parsed",
    "rollback": "counter and floor in the manifest, remembered; older only by a fresh order, below the floor never",
    "freeze": "nonce and request digest in every directive, *no* included; expiry stops new installs",
    "fast_forward": "counters and bundle versions count only once the document verified; N + 1 follows N; no manifest raises the floor by more than 2^31",
    "mix_and_match": "one manifest names all files, the directive names the manifest; all components switch together",
    "endless_data": "bounds before parsing; signed sizes are hard stops; room is asked for first",
    "wrong_software": "the directive names device and variant",
    "key_compromise": "four roles; thresholds of different keys; roots rotate the rest, N and N + 1 sign",
    "slow_retrieval": "time-outs, a lowest rate, resume, a bounded number of tries",
    "malicious_mirror": "addresses are advice: size and digest decide; no redirects, no token to a store",
    "replay": "device, nonce and request digest in the directive; assertions live minutes and count once",
    "parser_differences": "strict JSON, one base64, one way to write a time",
}


def error_table():
    kinds = {kind.code: kind for kind in _kinds()}
    rows = sorted((kind.number, kind.code, kind.reaction.value, _sentence(kind)) for kind in kinds.values())
    lines = [f"| {number} | `{code}` | {reaction} | {text} |" for number, code, reaction, text in rows]
    return "\n".join(["| number | code | reaction | |", "|--:|---|---|---|", *lines])


def attack_table():
    listed = json.loads((FOLDER / "attacks.json").read_text(encoding="utf-8"))
    lines = [
        f"| **{attack.replace('_', ' ')}**: {entry['what']} | {ANSWERS[attack]} |"
        f" {_some(entry['ids'])} | {_some(entry['scenarios'])} |"
        for attack, entry in listed.items()
    ]
    return "\n".join(["| attack | what stops it | vectors | scenarios |", "|---|---|---|---|", *lines])


def filled(text):
    """`text` with both tables between their marks."""
    for mark, table in (("errors", error_table()), ("attacks", attack_table())):
        before, _, rest = text.partition(f"<!-- {mark} -->\n")
        _, _, after = rest.partition(f"<!-- /{mark} -->")
        text = f"{before}<!-- {mark} -->\n{table}\n<!-- /{mark} -->{after}"
    return text


def _kinds():
    """All named refusals of a device; one that two modules name is told once."""
    for module in MODULES:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, ContractError) and kind not in ABSTRACT:
                yield kind


def _sentence(kind):
    return (kind.__doc__ or "").strip().splitlines()[0].replace("|", "/")


def _some(names):
    """A handful, spread over all of them; the whole list is in a file."""
    step = max(1, len(names) // SHOWN)
    shown = ", ".join(f"`{name}`" for name in names[::step][:SHOWN])
    return f"{shown}, {len(names)} in all" if len(names) > SHOWN else shown


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
