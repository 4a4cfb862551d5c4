import re

import pytest

from service.operations.platform.api_tokens import SCOPES
from tests.service.api import roles_table
from tests.service.support.actors import refused

FILLED = {"{upload_id}": "0" * 32, "{job_id}": "0" * 32, "{delivery_id}": "1", "{number}": "1"}


def concrete(path):
    """A path with something in each of its places."""
    return re.sub(
        r"\{\w+\}", lambda place: FILLED.get(place[0], "halt" if place[0] == "{verb}" else "x"), path
    )


def test_the_table_of_roles_is_what_the_routes_ask_for():
    assert roles_table.written() == roles_table.table(), "run python -m tests.service.api.roles_table"


def test_every_admin_route_stands_in_the_table(live):
    walked = {(path, method) for _least, path, method in roles_table.routes()}
    served = roles_table.admin_paths(live.client.app)
    assert {one for one in served if one[0] not in roles_table.OPEN} == walked


@pytest.mark.parametrize("scope", SCOPES)
def test_a_role_opens_its_own_routes_and_those_of_the_roles_below(live, scope):
    for least, path, method in roles_table.routes():
        answer = live.call(method, concrete(path), {"unknown": 1}, scope)
        if SCOPES.index(scope) < least:
            refused(answer, 403, "forbidden")
        else:
            assert answer.status_code not in (401, 403), (method, path, answer.text)


def test_nobody_comes_in_without_a_token(live):
    for _least, path, method in roles_table.routes():
        refused(live.client.request(method, concrete(path), json={}), 401, "unauthorized")
