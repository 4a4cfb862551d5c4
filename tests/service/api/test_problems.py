"""What the contract tells of the server's refusals is what the server's code can say to a device."""

import ast
import re
from pathlib import Path

import sdk_contract
import service
from service import errors
from service.errors import ServiceError
from service.operations.fleet import enrollment

SERVICE = Path(service.__file__).parent
FACING_DEVICES = (
    "api/device.py",
    "api/body_limit.py",
    "api/problems.py",
    "serving/answer.py",
    "serving/credentials.py",
    "serving/device_auth.py",
    "serving/group_commit.py",
    "serving/grants.py",
    "serving/intake.py",
    "serving/provider_keys.py",
    "serving/rate_limits.py",
    "tokens/access.py",
    "tokens/assertions.py",
    "tokens/providers.py",
    "tokens/reading.py",
)
ENROLLMENT = {"enroll", "_request_key_change", "_check_proof", "_redeem_token"}
OF_THE_FRAMEWORK = {(404, "not_found"), (405, "method_not_allowed")}


def table():
    text = (Path(sdk_contract.__file__).parent / "README.md").read_text(encoding="utf-8")
    rows = text.partition("<!-- problems -->")[2].partition("<!-- /problems -->")[0]
    return [
        (int(status), code) for status, code in re.findall(r"^\| (\d+) \| `([a-z_]+)` \|", rows, re.MULTILINE)
    ]


def names_called(tree):
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name)}


def refusals():
    """Every refusal that the code which devices talk to makes."""
    names = set()
    for path in FACING_DEVICES:
        names |= names_called(ast.parse((SERVICE / path).read_text(encoding="utf-8")))
    tree = ast.parse(Path(enrollment.__file__).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in ENROLLMENT:
            names |= names_called(node)
    kinds = [vars(errors).get(name) or vars(enrollment).get(name) for name in names]
    return {
        (kind.status, kind.code)
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, ServiceError)
    }


def test_the_contract_names_every_refusal_that_a_device_may_get_and_no_other():
    assert set(table()) == refusals() | OF_THE_FRAMEWORK


def test_it_names_each_once_in_the_order_of_their_status():
    assert len(set(table())) == len(table())
    assert [status for status, _ in table()] == sorted(status for status, _ in table())


def test_every_problem_of_the_served_description_has_a_body_that_is_described(live):
    described = live.client.get("/openapi.json").json()
    assert "code" in described["components"]["schemas"]["Problem"]["required"]
    for path, operations in described["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                schemas = [content.get("schema") for content in answer.get("content", {}).values()]
                assert (schemas and all(schemas)) or status == "204" or path == "/metrics", (path, status)
                if status in {"429", "503"} and path != "/ready":
                    assert "Retry-After" in answer["headers"], (path, status)


def test_a_body_that_is_not_said_to_be_json_is_told_how_to_be_sent(live):
    headers = {
        "Authorization": f"Bearer {live.tokens['admin']}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    refused = live.client.post("/v1/admin/uploads", content=b'{"sha256": "00"}', headers=headers)
    assert refused.status_code == 422
    assert "Content-Type: application/json" in refused.json()["detail"]
