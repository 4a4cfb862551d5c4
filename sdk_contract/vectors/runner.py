"""Runs a case against this package: the reference for what another language's runner does.

The families `token`, `bucket` and `semver` speak of what a server does; `README.md` says how a runner reads them.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sdk_contract import strict_json
from sdk_contract.client.background import first_delay, next_delay
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.record import Record, Release
from sdk_contract.client.verify import Order, check_answer
from sdk_contract.documents import Manifest, TrustBundle, require_fresh
from sdk_contract.envelope import Role, unseal
from sdk_contract.errors import ContractError
from sdk_contract.patch import Applier
from sdk_contract.rules import Question, require_allowed
from sdk_contract.vectors import Case
from sdk_contract.wire import PollAnswer

Verdict = dict[str, Any]


def run(family: str, case: Case) -> Verdict:
    """What this implementation makes of a case, in the form of its `expect`.

    Raises:
        KeyError: a family that this package has no code for.
        Exception: anything but a named refusal is a fault of ours.
    """
    judge = RUNNERS[family]
    try:
        return {"result": "accept", "code": None} | judge(case)
    except ContractError as fault:
        return {"result": "reject", "code": fault.code}


def _strict_json(case: Case) -> Verdict:
    value = strict_json.loads(_bytes(case, "data"), limit=case["inputs"]["limit"])
    return {"canonical": _text(strict_json.dumps(value))}


def _envelope(case: Case) -> Verdict:
    inputs = case["inputs"]
    keys = {keyid: base64.b64decode(public) for keyid, public in inputs["role"]["keys"].items()}
    role = Role(keys, inputs["role"]["threshold"])
    payload = unseal(_bytes(case, "envelope"), inputs["payload_type"], role, limit=inputs["limit"])
    return {"payload_sha256": hashlib.sha256(payload).hexdigest()}


def _trust(case: Case) -> Verdict:
    """Walk the chain; a broken link leaves the device with the bundle before it."""
    bundle = TrustBundle.open_first(_bytes(case, "shipped"))
    try:
        for link in case["inputs"]["next"]:
            bundle = bundle.open_next(base64.b64decode(link))
    except ContractError as fault:
        return {"result": "reject", "code": fault.code, "version": bundle.version}
    return {"version": bundle.version}


def _manifest(case: Case) -> Verdict:
    trust = TrustBundle.open_first(_bytes(case, "trust"))
    manifest = Manifest.open(_bytes(case, "envelope"), trust.for_role("publisher"))
    require_fresh(manifest, _moment(case["now"]))
    state = case["device_state"]
    require_allowed(manifest, _record(state).memory(), rollback=state["ordered_back"])
    return {"version": manifest.version, "counter": manifest.counter}


def _directive(case: Case) -> Verdict:
    """One whole poll answer: directive, manifest, ways, against what this device remembers."""
    trust = TrustBundle.open_first(_bytes(case, "trust"))
    answer = PollAnswer.model_validate_json(_bytes(case, "answer"))
    state = case["device_state"]
    question = Question(
        _bytes(case, "request"),
        state["device_id"],
        state["model"],
        state["nonce"],
        state["elapsed_s"],
        state["modules"],
    )
    return _ordered(check_answer(answer, question, trust, _record(state), _moment(case["now"])))


def _ordered(order: Order) -> Verdict:
    ways = {name: [route.way.format for route in routes] for name, routes in order.routes.items()}
    return {
        "action": order.directive.action,
        "version": order.release.version if order.release else None,
        "components": [part.name for part in order.release.components] if order.release else [],
        "ways": ways,
        "skipped": list(order.skipped),
        **({"held": True} if order.held else {}),
    }


def _patch(case: Case) -> Verdict:
    expected = bytes.fromhex(case["inputs"]["index_sha256"])
    made = apply_in_memory(_bytes(case, "source"), _bytes(case, "patch"), expected)
    return {"sha256": hashlib.sha256(made).hexdigest(), "size": len(made)}


def apply_in_memory(source: bytes, patch: bytes, index_sha256: bytes | None = None) -> bytes:
    """The target of a small patch.

    Raises:
        PatchError: the patch is not what it should be.
    """
    target = _Memory(b"")
    applier = Applier(_Memory(source), target, index_sha256=index_sha256)
    applier.feed(patch)
    applier.finish()
    return bytes(target.data)


class _Memory:
    """Source and target of a patch."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > len(self.data):
            raise EOFError
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.data[offset : offset + len(data)] = data


def _jitter(case: Case) -> Verdict:
    """Drawn many times: every draw is within the bounds, and the draws differ."""
    inputs, expect = case["inputs"], case["expect"]
    draws = [_delay(inputs) for _ in range(200)]
    inside = all(expect["min_s"] <= draw <= expect["max_s"] for draw in draws)
    spread = len(set(draws)) > 1 or expect["min_s"] == expect["max_s"]
    bounds = {"min_s": expect["min_s"], "max_s": expect["max_s"]}
    return bounds if inside and spread else {"min_s": min(draws), "max_s": max(draws)}


def _delay(inputs: Mapping[str, Any]) -> float:
    if inputs["after"] == "start":
        return first_delay(inputs["next_poll_s"])
    outcome = Outcome(
        "failed" if inputs["after"] == "failure" else "up_to_date",
        "",
        next_poll_s=inputs["next_poll_s"],
        retry_after_s=inputs.get("retry_after_s", 0),
    )
    return next_delay(outcome, inputs.get("previous_s", 0.0))


RUNNERS: Mapping[str, Callable[[Case], Verdict]] = {
    "strict_json": _strict_json,
    "envelope": _envelope,
    "trust": _trust,
    "manifest": _manifest,
    "directive": _directive,
    "patch": _patch,
    "jitter": _jitter,
}


def _record(state: Mapping[str, Any]) -> Record:
    counter = state["current_counter"]
    current = Release(
        manifest_sha256="0" * 64, model="demo", version="v", counter=counter or 0, variant="v", components=[]
    )
    return Record(
        current=None if counter is None else current,
        floor=state["floor"],
        newest_issued=state["newest_issued"],
    )


def _bytes(case: Case, name: str) -> bytes:
    return base64.b64decode(case["inputs"][name])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
