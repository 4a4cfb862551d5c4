"""Golden cases where nothing is installed but Python and `cryptography`: `python bare.py FOLDER` prints ids that went wrong."""

import base64
import json
import sys
from datetime import datetime
from types import SimpleNamespace


class Refused:
    """Lets nothing else be imported."""

    allowed = frozenset({*sys.stdlib_module_names, "cryptography", "_cffi_backend", "sdk_contract"})

    def find_spec(self, name, path=None, target=None):
        if name.split(".", maxsplit=1)[0] not in self.allowed:
            raise ModuleNotFoundError(name)


sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, Refused())

from sdk_contract import rules, strict_json  # noqa: E402 - after the door is shut
from sdk_contract.documents import Manifest, TrustBundle, require_fresh  # noqa: E402
from sdk_contract.errors import ContractError  # noqa: E402
from sdk_contract.vectors import load  # noqa: E402


def trust(case):
    inputs = case["inputs"]
    bundle = TrustBundle.open_first(base64.b64decode(inputs["shipped"]))
    for envelope in inputs["next"]:
        bundle = bundle.open_next(base64.b64decode(envelope))
    return {"version": bundle.version}


def memory(case):
    state = case["device_state"]
    return rules.Memory(state["current_counter"], state["floor"], state.get("newest_issued", ""))


def manifest(case):
    bundle = TrustBundle.open_first(base64.b64decode(case["inputs"]["trust"]))
    opened = Manifest.open(base64.b64decode(case["inputs"]["envelope"]), bundle.for_role("publisher"))
    require_fresh(opened, datetime.fromisoformat(case["now"]))
    rules.require_allowed(opened, memory(case), rollback=case["device_state"]["ordered_back"])
    return {"version": opened.version, "counter": opened.counter}


def directive(case):
    inputs, state = case["inputs"], case["device_state"]
    bundle = TrustBundle.open_first(base64.b64decode(inputs["trust"]))
    asked = (state["device_id"], state["model"], state["nonce"], state["elapsed_s"], state["modules"])
    question = rules.Question(base64.b64decode(inputs["request"]), *asked)
    answer = json.loads(base64.b64decode(inputs["answer"]))
    order = rules.check_directive(strict_json.dumps(answer["directive"]), question, bundle)
    if order.action not in rules.INSTALLS:
        return {"action": order.action}
    envelope = strict_json.dumps(answer["manifest"]["envelope"]) if answer.get("manifest") else None
    now = datetime.fromisoformat(case["now"])
    target = rules.check_target(envelope, order, question, bundle, memory(case), now=now)
    ways, skipped = {}, []
    offered = {entry["name"]: entry["ways"] for entry in answer["downloads"]}
    for part in target.components:
        ways[part.name] = []
        for way in offered.get(part.name, ()):
            try:
                rules.check_way(SimpleNamespace(**{"descriptor": None} | way), part, bundle)
            except ContractError as fault:
                skipped.append(fault.code)
            else:
                ways[part.name].append(way["format"])
    names = [part.name for part in target.components]
    told = {"action": order.action, "version": target.manifest.version, "components": names}
    return told | {"ways": ways, "skipped": skipped}


def verdict(play, case):
    try:
        return {"result": "accept"} | play(case)
    except ContractError as fault:
        return {"result": "reject", "code": fault.code}


def main():
    for play in (trust, manifest, directive):
        for case in load(play.__name__):
            told, wanted = verdict(play, case), case["expect"]
            if any(wanted[name] != value for name, value in told.items()):
                sys.stdout.write(f"{case['id']} {told} {wanted}\n")
        sys.stdout.write(f"{play.__name__} {len(load(play.__name__))}\n")


if __name__ == "__main__":
    main()
