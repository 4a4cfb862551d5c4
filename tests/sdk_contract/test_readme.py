"""What `sdk_contract/README.md` tells an SDK author is what the code does."""

import re

import pytest

from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.schemas.generate import DOCUMENTS
from sdk_contract.schemas.routes import ROUTES
from sdk_contract.vectors import FAMILIES, load
from tests.sdk_contract.readme.tables import README, filled

TEXT = README.read_text(encoding="utf-8")


def test_its_tables_of_errors_and_attacks_are_up_to_date():
    assert filled(TEXT) == TEXT, "run python -m tests.sdk_contract.readme.tables"


def test_every_case_and_scenario_that_it_names_exists():
    known = {case["id"] for family in FAMILIES for case in load(family)} | {story.name for story in SCENARIOS}
    table = TEXT.partition("<!-- attacks -->")[2]
    named = set(re.findall(r"`([a-z_]+\.[^`]+)`", table)) - {"vectors/attacks.json"}
    assert named <= known
    assert len(named) > 50


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=lambda kind: kind.__name__)
def test_it_gives_type_bound_and_role_of_every_document(document):
    row = f"| `{document.payload_type}` | {document.limit // 1024} KiB | {document.role} |"
    assert row in TEXT


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "post"], ids=lambda r: r.path)
def test_it_tells_of_every_request_that_a_device_makes(route):
    assert f"POST {route.path}" in TEXT


@pytest.mark.parametrize("family", FAMILIES)
def test_it_explains_every_family_of_cases(family):
    assert f"| `{family}` |" in TEXT
