"""Which roles may call which routes of the admin API."""

import re

import pytest

from service.operations.platform.api_tokens import SCOPES
from tests.service.api import roles_table
from tests.service.support.actors import refused

EXAMPLES = {
    "{upload_id}": "0" * 32,
    "{job_id}": "0" * 32,
    "{delivery_id}": "1",
    "{number}": "1",
    "{verb}": "halt",
}


def example_path(path):
    """A path with an example for each parameter."""
    return re.sub(r"\{\w+\}", lambda parameter: EXAMPLES.get(parameter[0], "x"), path)


def test_the_guide_contains_the_current_table_of_roles():
    assert roles_table.documented() == roles_table.table(), "run python -m tests.service.api.roles_table"


def test_the_table_contains_every_admin_route(live):
    tabulated = {(path, method) for _lowest, path, method in roles_table.routes()}
    assert len(tabulated) > 50
    served = roles_table.admin_paths(live.client.app)
    assert {route for route in served if route[0] not in roles_table.WITHOUT_API_TOKEN} == tabulated


ROUTES = roles_table.routes()


@pytest.mark.parametrize("scope", SCOPES)
def test_a_role_may_call_its_own_routes_and_those_of_lower_roles_only(live, scope):
    for lowest, path, method in ROUTES:
        response = live.call(method, example_path(path), {"unknown": 1}, scope)
        if SCOPES.index(scope) < lowest:
            refused(response, 403, "forbidden")
        else:
            assert response.status_code not in (401, 403), (method, path, response.text)


def test_every_admin_route_requires_a_token(live):
    for _lowest, path, method in ROUTES:
        refused(live.client.request(method, example_path(path), json={}), 401, "unauthorized")
