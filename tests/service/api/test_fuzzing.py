"""Generated requests get responses that the OpenAPI descriptions allow."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
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

EXISTING = {"model": "m", "label": "v1", "device_id": "d1", "key": "r"}
"""Path parameters of existing objects; with random ones, nearly every response would be 404."""

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
def test_every_response_conforms_to_the_served_openapi_description(live, fleet, group):
    schema = schemathesis.openapi.from_dict(actors.ok(live.client.get("/openapi.json")))
    operations = [operation for operation in operations_of(schema) if operation.tags == [group]]
    assert operations
    for operation in operations:
        token = fleet.token if group == "device" else live.tokens["admin"]
        send_generated_requests(live, operation, {"Authorization": f"Bearer {token}"})
    assert actors.ok(live.client.get("/ready"))["status"] == "ready"


def test_every_response_conforms_to_the_openapi_description_of_the_contract(live, fleet):
    schema = schemathesis.openapi.from_dict(json.loads((schemas.FOLDER / schemas.OPENAPI).read_text()))
    operations = operations_of(schema)
    assert len(operations) == len(ROUTES)
    for operation in operations:
        send_generated_requests(live, operation, {"Authorization": f"Bearer {fleet.token}"})
    assert actors.ok(live.client.get("/ready"))["status"] == "ready"


def operations_of(schema):
    """All operations of a description, which must all be valid."""
    results = list(schema.get_all_operations())
    assert all(isinstance(result, Ok) for result in results)
    return [result.ok() for result in results]


def send(live, request):
    """Send a request that was generated for the library `requests` with the test client."""
    arguments = {
        name: request[name] for name in ("method", "url", "headers", "params", "json") if request.get(name)
    }
    if isinstance(request.get("data"), str | bytes):
        arguments["content"] = request["data"]
    return live.client.request(**arguments)


def unwrap(found):
    """An operation of a schema, which must be valid."""
    assert isinstance(found, Ok), found
    return found.ok()


def send_generated_requests(live, operation, headers):
    """Send valid and invalid requests, and check the responses against the description."""
    cases = st.one_of([operation.as_strategy(mode) for mode in GenerationMode])

    @seed(20261120)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, use_existing=st.booleans())
    def check(case, use_existing):
        fuzzing.count_mutation(f"{operation.method.upper()} {operation.path}")
        if use_existing and case.path_parameters:
            case.path_parameters.update({k: v for k, v in EXISTING.items() if k in case.path_parameters})
        request = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
        case.validate_response(send(live, request), checks=CHECKS)

    check()
