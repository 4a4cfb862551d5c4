"""Runs test vectors against this package; a model for the runners of other languages.

The families `token`, `bucket` and `semver` test the server, so this module does not run them.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sdk_contract import strict_json
from sdk_contract.client.background import first_poll_delay, next_poll_delay
from sdk_contract.client.lifecycle.result import UpdateResult
from sdk_contract.client.protocol.verification import VerifiedUpdate, verify_poll_response
from sdk_contract.client.storage.client_state import ClientState, Release
from sdk_contract.documents import Manifest, TrustBundle, check_not_expired
from sdk_contract.envelope import Role, verify_envelope
from sdk_contract.errors import ContractError
from sdk_contract.patch import Applier
from sdk_contract.vectors import Case
from sdk_contract.verification import PollContext, check_rollback_protection
from sdk_contract.wire import PollResponse

Result = dict[str, Any]


def run(family: str, case: Case) -> Result:
    """Run one case; return the result in the form of the case's `expect`.

    Raises:
        KeyError: this module does not run the family.
        Exception: any error that is not a `ContractError` is a bug in this package.
    """
    run_case = RUNNERS[family]
    try:
        return {"result": "accept", "code": None} | run_case(case)
    except ContractError as error:
        return {"result": "reject", "code": error.code}


def _strict_json(case: Case) -> Result:
    value = strict_json.loads(_bytes(case, "data"), limit=case["inputs"]["limit"])
    return {"canonical": _text(strict_json.dumps(value))}


def _envelope(case: Case) -> Result:
    inputs = case["inputs"]
    keys = {keyid: base64.b64decode(public) for keyid, public in inputs["role"]["keys"].items()}
    role = Role(keys, inputs["role"]["threshold"])
    payload = verify_envelope(_bytes(case, "envelope"), inputs["payload_type"], role, limit=inputs["limit"])
    return {"payload_sha256": hashlib.sha256(payload).hexdigest()}


def _trust(case: Case) -> Result:
    """Verify the chain. After a broken link the device keeps the bundle before it."""
    bundle = TrustBundle.from_initial_envelope(_bytes(case, "shipped"))
    try:
        for link in case["inputs"]["next"]:
            bundle = bundle.verify_successor(base64.b64decode(link))
    except ContractError as error:
        return {"result": "reject", "code": error.code, "version": bundle.version}
    return {"version": bundle.version}


def _manifest(case: Case) -> Result:
    trust = TrustBundle.from_initial_envelope(_bytes(case, "trust"))
    manifest = Manifest.from_envelope(_bytes(case, "envelope"), trust.for_role("publisher"))
    check_not_expired(manifest, _parse_time(case["now"]))
    state = case["device_state"]
    check_rollback_protection(
        manifest, _client_state(state).trust_state(), rollback=state["rollback_ordered"]
    )
    return {"version": manifest.version, "counter": manifest.counter}


def _directive(case: Case) -> Result:
    """Verify a whole poll response: directive, manifest and download options."""
    trust = TrustBundle.from_initial_envelope(_bytes(case, "trust"))
    response = PollResponse.model_validate_json(_bytes(case, "response"))
    state = case["device_state"]
    context = PollContext(
        _bytes(case, "request"),
        state["device_id"],
        state["model"],
        state["nonce"],
        state["elapsed_s"],
        state["wanted_components"],
    )
    return _summary(
        verify_poll_response(response, context, trust, _client_state(state), _parse_time(case["now"]))
    )


def _summary(update: VerifiedUpdate) -> Result:
    return {
        "action": update.directive.action,
        "version": update.release.version if update.release else None,
        "components": [part.name for part in update.release.components] if update.release else [],
        "options": {name: [entry.offer.format for entry in found] for name, found in update.options.items()},
        "skipped": list(update.skipped_codes),
        **({"activation_deferred": True} if update.activation_deferred else {}),
    }


def _patch(case: Case) -> Result:
    index_sha256 = bytes.fromhex(case["inputs"]["index_sha256"])
    target = apply_in_memory(_bytes(case, "source"), _bytes(case, "patch"), index_sha256)
    return {"sha256": hashlib.sha256(target).hexdigest(), "size": len(target)}


def apply_in_memory(source: bytes, patch: bytes, index_sha256: bytes | None = None) -> bytes:
    """Apply a small patch; return the target.

    Raises:
        PatchError: the patch is invalid.
    """
    target = _Memory(b"")
    applier = Applier(_Memory(source), target, index_sha256=index_sha256)
    applier.feed(patch)
    applier.finish()
    return bytes(target.data)


class _Memory:
    """Source or target of a patch, in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > len(self.data):
            raise EOFError
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.data[offset : offset + len(data)] = data


def _jitter(case: Case) -> Result:
    """Draw many times; check that every draw is within the bounds and that the draws differ."""
    inputs, expect = case["inputs"], case["expect"]
    draws = [_delay(inputs) for _ in range(200)]
    inside = all(expect["min_s"] <= draw <= expect["max_s"] for draw in draws)
    spread = len(set(draws)) > 1 or expect["min_s"] == expect["max_s"]
    bounds = {"min_s": expect["min_s"], "max_s": expect["max_s"]}
    return bounds if inside and spread else {"min_s": min(draws), "max_s": max(draws)}


def _delay(inputs: Mapping[str, Any]) -> float:
    if inputs["after"] == "start":
        return first_poll_delay(inputs["next_poll_s"])
    outcome = UpdateResult(
        "failed" if inputs["after"] == "failure" else "up_to_date",
        "",
        next_poll_s=inputs["next_poll_s"],
        retry_after_s=inputs.get("retry_after_s", 0),
    )
    return next_poll_delay(outcome, inputs.get("previous_s", 0.0))


RUNNERS: Mapping[str, Callable[[Case], Result]] = {
    "strict_json": _strict_json,
    "envelope": _envelope,
    "trust": _trust,
    "manifest": _manifest,
    "directive": _directive,
    "patch": _patch,
    "jitter": _jitter,
}


def _client_state(state: Mapping[str, Any]) -> ClientState:
    counter = state["current_counter"]
    current = Release(
        manifest_sha256="0" * 64, model="demo", version="v", counter=counter or 0, variant="v", components=[]
    )
    return ClientState(
        current=None if counter is None else current,
        floor=state["floor"],
        newest_issued=state["newest_issued"],
    )


def _bytes(case: Case, name: str) -> bytes:
    return base64.b64decode(case["inputs"][name])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
