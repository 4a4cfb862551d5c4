"""Requests that nobody would write by hand: each gets an answer that the API's own description knows."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sdk_contract.schemas import generate as schemas
from sdk_contract.schemas.routes import ROUTES
from tests.service.support import actors, fuzzing

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
KNOWN = {"model": "m", "label": "v1", "device_id": "d1", "key": "r"}
"""Parameters for which a request that goes beyond "not found" needs something that is there."""
EXAMPLES = int(os.environ.get("GRAYLAG_FUZZ_EXAMPLES", "8"))
GROUPS = (
    "health",
    "device",
    "versions",
    "cohorts",
    "templates",
    "rollouts",
    "devices",
    "webhooks",
    "config",
    "jobs",
    "audit",
    "tokens",
    "trust",
)


@pytest.fixture
@actors.set_up_once
def rolled_out(live):
    actors.publish(live, "v1", b"weights of the fuzzer")
    actors.roll_out(live, "r", "v1")


@pytest.fixture
def fleet(rolled_out):
    return actors.enroll(rolled_out, "d1")


@pytest.mark.parametrize("group", GROUPS)
def test_every_answer_is_one_that_the_api_describes(live, fleet, group):
    schema = schemathesis.openapi.from_dict(actors.ok(live.client.get("/openapi.json")))
    operations = [found.ok() for found in schema.get_all_operations()]
    chosen = [one for one in operations if one.tags == [group]]
    assert chosen
    for operation in chosen:
        token = fleet.token if group == "device" else live.tokens["admin"]
        bombard(live, operation, {"Authorization": f"Bearer {token}"})
    assert actors.ok(live.client.get("/ready"))["status"] == "ready"


def test_every_answer_is_one_that_the_contract_describes(live, fleet):
    schema = schemathesis.openapi.from_dict(json.loads((schemas.FOLDER / schemas.OPENAPI).read_text()))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == len(ROUTES)
    for operation in operations:
        bombard(live, operation, {"Authorization": f"Bearer {fleet.token}"})
    assert actors.ok(live.client.get("/ready"))["status"] == "ready"


def send(live, request):
    """What was made for one HTTP library, through another."""
    kept = {
        name: request[name] for name in ("method", "url", "headers", "params", "json") if request.get(name)
    }
    if isinstance(request.get("data"), str | bytes):
        kept["content"] = request["data"]
    return live.client.request(**kept)


def bombard(live, operation, headers):
    """Requests that fit the description, and some that do not."""
    cases = st.one_of(operation.as_strategy(mode) for mode in GenerationMode)

    @seed(20261120)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, known=st.booleans())
    def check(case, known):
        fuzzing.count_mutation(f"{operation.method.upper()} {operation.path}")
        if known and case.path_parameters:
            case.path_parameters.update({k: v for k, v in KNOWN.items() if k in case.path_parameters})
        request = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
        case.validate_response(send(live, request), checks=CHECKS)

    check()
