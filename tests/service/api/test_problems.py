"""Problem documents: which ones devices may get, and their descriptions."""

import ast
import re
from pathlib import Path

import sdk_contract
import service
from service import errors
from service.api.device.routes import RAW_HANDLERS
from service.errors import ServiceError
from service.operations.fleet import enrollment
from tests.service.support.actors import refused

SERVICE = Path(service.__file__).parent

DEVICE_MODULES = (
    "api/device/routes.py",
    "api/middleware/body_limit.py",
    "api/problems.py",
    "serving/admission/rate_limits.py",
    "serving/attempts/grants.py",
    "serving/auth/credentials.py",
    "serving/auth/device_auth.py",
    "serving/auth/provider_keys.py",
    "serving/auth/replay_cache.py",
    "serving/batching/write_batcher.py",
    "serving/events/ingest.py",
    "serving/polls/context.py",
    "serving/polls/service.py",
    "infrastructure/tokens/access_tokens.py",
    "infrastructure/tokens/device_assertions.py",
    "infrastructure/tokens/hmac_requests.py",
    "infrastructure/tokens/jws.py",
    "infrastructure/tokens/jwt_claims.py",
    "infrastructure/tokens/provider_tokens.py",
)

ENROLLMENT_FUNCTIONS = {"enroll", "_request_key_change", "_check_proof", "_redeem_token"}

FRAMEWORK_PROBLEMS = {(404, "not_found"), (405, "method_not_allowed")}


def documented_problems():
    """The (status, code) pairs of the table in the contract's README."""
    text = (Path(sdk_contract.__file__).parent / "README.md").read_text(encoding="utf-8")
    rows = text.partition("<!-- problems -->")[2].partition("<!-- /problems -->")[0]
    return [
        (int(status), code) for status, code in re.findall(r"^\| (\d+) \| `([a-z_]+)` \|", rows, re.MULTILINE)
    ]


def names_called(tree):
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name)}


def raised_problems():
    """The (status, code) pairs of all errors that the modules behind the device API raise."""
    names = set()
    for path in DEVICE_MODULES:
        names |= names_called(ast.parse((SERVICE / path).read_text(encoding="utf-8")))
    tree = ast.parse(Path(enrollment.__file__).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in ENROLLMENT_FUNCTIONS:
            names |= names_called(node)
    error_types = [vars(errors).get(name) or vars(enrollment).get(name) for name in names]
    return {
        (error_type.status, error_type.code)
        for error_type in error_types
        if isinstance(error_type, type) and issubclass(error_type, ServiceError)
    }


def test_the_contract_lists_exactly_the_problems_that_devices_may_get():
    assert set(documented_problems()) == raised_problems() | FRAMEWORK_PROBLEMS


def test_the_contract_lists_each_problem_once_by_status():
    assert len(set(documented_problems())) == len(documented_problems())
    assert [status for status, _ in documented_problems()] == sorted(
        status for status, _ in documented_problems()
    )


def test_the_openapi_description_has_a_schema_for_every_problem(live):
    description = live.client.get("/openapi.json").json()
    assert "code" in description["components"]["schemas"]["Problem"]["required"]
    for path, operations in description["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                schemas = [content.get("schema") for content in response.get("content", {}).values()]
                assert (schemas and all(schemas)) or status == "204" or path == "/metrics", (path, status)
                if status in {"429", "503"} and path != "/ready":
                    assert "Retry-After" in response["headers"], (path, status)


def test_the_error_for_a_wrong_content_type_says_which_one_to_send(live):
    headers = {
        "Authorization": f"Bearer {live.tokens['admin']}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    response = live.client.post("/v1/admin/uploads", content=b'{"sha256": "00"}', headers=headers)
    assert "Content-Type: application/json" in refused(response, 422, "invalid")["detail"]


def test_unknown_paths_and_methods_are_answered_with_problem_documents(live):
    refused(live.client.get("/v1/nothing"), 404, "not_found")
    refused(live.client.delete("/health"), 405, "method_not_allowed")


def test_polls_and_events_accept_post_only(live):
    for path in RAW_HANDLERS:
        for method in ("GET", "PUT", "DELETE"):
            response = live.client.request(method, path)
            refused(response, 405, "method_not_allowed")
            assert response.headers["allow"] == "POST"


def test_a_body_that_is_not_json_is_refused(live):
    headers = {"Authorization": f"Bearer {live.tokens['admin']}"}
    for raw in (b"\xff", b"[" * 100_000, b"9" * 5000, b"{", b""):
        refused(live.client.put("/v1/admin/models/m", content=raw, headers=headers), 422, "invalid")
