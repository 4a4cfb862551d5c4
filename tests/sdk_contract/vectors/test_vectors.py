"""The reference passes every vector, and published vectors never change."""

import base64
import json
from datetime import datetime

import pytest

from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.vectors import FAMILIES, FOLDER, digest, load
from sdk_contract.vectors.runner import RUNNERS, run
from service.domain.targeting import buckets, rules
from service.errors import ServiceError
from service.infrastructure import tokens
from tests.sdk_contract.vectors.generator.case import ATTACKS

CASES = {family: load(family) for family in FAMILIES}
DIGESTS = json.loads((FOLDER / "digests.json").read_text())


def token(case):
    inputs = case["inputs"]
    request = inputs.get("request")
    binding = request and tokens.RequestBinding(
        request["method"], request["path"], base64.b64decode(request["body"])
    )
    if "secret" in inputs:
        secret = base64.b64decode(inputs["secret"])
        named = (inputs["device_id"], inputs["timestamp"], inputs["nonce"])
        return {"mac": tokens.request_mac(secret, *named, binding)}
    assertion = base64.b64decode(inputs["assertion"]).decode()
    jti = tokens.verify_device_assertion(
        assertion, base64.b64decode(inputs["public_key"]), datetime.fromisoformat(case["now"]), binding
    )
    return {"jti": jti}


def bucket(case):
    salt, device = case["inputs"]["salt"], case["inputs"]["device_id"]
    percents = {text: buckets.in_percent(salt, device, float(text)) for text in case["expect"]["in_percent"]}
    return {"bucket": buckets.bucket(salt, device), "in_percent": percents}


def semver(case):
    matches = rules.compile_rule({"attr": "app", "semver": case["inputs"]["range"]})
    return {"match": matches("dev-1", {"app": case["inputs"]["version"]})}


SERVER_SIDE = {"token": token, "bucket": bucket, "semver": semver}


def result_of(family, case):
    if family in RUNNERS:
        return run(family, case)
    try:
        return {"result": "accept", "code": None} | SERVER_SIDE[family](case)
    except ServiceError as error:
        return {"result": "reject", "code": error.code}


@pytest.mark.parametrize(
    ("family", "case"),
    [pytest.param(family, case, id=case["id"]) for family in FAMILIES for case in CASES[family]],
)
def test_the_reference_gives_the_expected_result(family, case):
    assert result_of(family, case) == case["expect"], case["comment"]


def test_no_published_case_was_edited_or_removed():
    assert {case["id"]: digest(case) for cases in CASES.values() for case in cases} == DIGESTS


def test_every_family_has_at_least_ten_cases():
    assert len(DIGESTS) >= 250
    assert all(len(cases) >= 10 for cases in CASES.values())


def test_every_attack_has_rejected_cases_and_scenarios():
    listed = json.loads((FOLDER / "attacks.json").read_text())
    assert set(listed) == set(ATTACKS)
    by_id = {case["id"]: case for cases in CASES.values() for case in cases}
    for attack, entry in listed.items():
        refused = [name for name in entry["ids"] if by_id[name]["expect"]["result"] == "reject"]
        assert entry["ids"] == [name for name, case in by_id.items() if case["attack"] == attack]
        assert entry["scenarios"] == [scenario.name for scenario in SCENARIOS if scenario.attack == attack]
        assert len(refused) >= 3 or attack == "slow_retrieval", attack
        assert len(entry["scenarios"]) >= 3, attack


def test_every_id_starts_with_its_family():
    assert all(case["id"].startswith(f"{family}.") for family, cases in CASES.items() for case in cases)
