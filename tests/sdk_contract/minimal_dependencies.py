"""Runs the vectors of the verification code where only the standard library and `cryptography` can be imported.

`python minimal_dependencies.py FOLDER` prints the ids of the cases that fail, and the number of cases per family.
"""

import base64
import json
import sys
from datetime import datetime
from types import SimpleNamespace


class ImportBlocker:
    """Fails every import of a package that verification must not need."""

    allowed = frozenset({*sys.stdlib_module_names, "cryptography", "_cffi_backend", "sdk_contract"})

    def find_spec(self, name, path=None, target=None):
        if name.split(".", maxsplit=1)[0] not in self.allowed:
            raise ModuleNotFoundError(name)


sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, ImportBlocker())

from sdk_contract import strict_json, verification  # noqa: E402 - after the import blocker is installed
from sdk_contract.documents import Manifest, TrustBundle, check_not_expired  # noqa: E402
from sdk_contract.errors import ContractError  # noqa: E402
from sdk_contract.vectors import load  # noqa: E402


def trust(case):
    inputs = case["inputs"]
    bundle = TrustBundle.from_initial_envelope(base64.b64decode(inputs["shipped"]))
    for envelope in inputs["next"]:
        bundle = bundle.verify_successor(base64.b64decode(envelope))
    return {"version": bundle.version}


def manifest(case):
    bundle = TrustBundle.from_initial_envelope(base64.b64decode(case["inputs"]["trust"]))
    envelope = base64.b64decode(case["inputs"]["envelope"])
    verified = Manifest.from_envelope(envelope, bundle.for_role("publisher"))
    check_not_expired(verified, datetime.fromisoformat(case["now"]))
    rollback = case["device_state"]["rollback_ordered"]
    verification.check_rollback_protection(verified, trust_state(case), rollback=rollback)
    return {"version": verified.version, "counter": verified.counter}


def directive(case):
    bundle = TrustBundle.from_initial_envelope(base64.b64decode(case["inputs"]["trust"]))
    response = json.loads(base64.b64decode(case["inputs"]["response"]))
    context = poll_context(case)
    verified = verification.verify_directive(strict_json.dumps(response["directive"]), context, bundle)
    if verified.action not in verification.INSTALL_ACTIONS:
        return {"action": verified.action}
    envelope = strict_json.dumps(response["manifest"]["envelope"]) if response.get("manifest") else None
    now = datetime.fromisoformat(case["now"])
    target = verification.verify_target(envelope, verified, context, bundle, trust_state(case), now=now)
    options, skipped = verified_options(target, response, bundle)
    return {
        "action": verified.action,
        "version": target.manifest.version,
        "components": [part.name for part in target.components],
        "options": options,
        "skipped": skipped,
    }


def trust_state(case):
    state = case["device_state"]
    return verification.TrustState(state["current_counter"], state["floor"], state.get("newest_issued", ""))


def poll_context(case):
    names = ("device_id", "model", "nonce", "elapsed_s", "wanted_components")
    fields = {name: case["device_state"][name] for name in names}
    return verification.PollContext(body=base64.b64decode(case["inputs"]["request"]), **fields)


def verified_options(target, response, bundle):
    """Component name -> formats of its valid options, and the codes of the invalid ones."""
    offered = {entry["name"]: entry["options"] for entry in response["downloads"]}
    formats: dict[str, list[str]] = {part.name: [] for part in target.components}
    skipped: list[str] = []
    for part in target.components:
        for option in offered.get(part.name, ()):
            try:
                verification.verify_option(SimpleNamespace(**{"descriptor": None} | option), part, bundle)
            except ContractError as error:
                skipped.append(error.code)
            else:
                formats[part.name].append(option["format"])
    return formats, skipped


def result_of(run_case, case):
    try:
        return {"result": "accept"} | run_case(case)
    except ContractError as error:
        return {"result": "reject", "code": error.code}


def main():
    for run_case in (trust, manifest, directive):
        for case in load(run_case.__name__):
            result, expect = result_of(run_case, case), case["expect"]
            if any(expect[name] != value for name, value in result.items()):
                sys.stdout.write(f"{case['id']} {result} {expect}\n")
        sys.stdout.write(f"{run_case.__name__} {len(load(run_case.__name__))}\n")


if __name__ == "__main__":
    main()
