"""`sdk_contract/README.md` describes what the code does, and its example is genuine."""

import inspect
import json
import re

import pytest

from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.documents import TrustBundle
from sdk_contract.errors import ContractError
from sdk_contract.schemas.generate import DOCUMENTS
from sdk_contract.schemas.routes import ROUTES
from sdk_contract.vectors import FAMILIES, FOLDER, load
from sdk_contract.verification import verify_directive
from tests.sdk_contract.readme import example
from tests.sdk_contract.readme.checks import checks
from tests.sdk_contract.readme.fill import README, filled
from tests.sdk_contract.test_verification import MODULES, code_lines, field_lines

TEXT = README.read_text(encoding="utf-8")
UPDATE = "run python -m tests.sdk_contract.readme"
GENERIC_CODES = {"signature_invalid", "unknown_key"}
"""Codes of section 2, which the rules about envelopes refer to."""


def test_its_generated_parts_are_up_to_date():
    assert filled(TEXT) == TEXT, UPDATE


def test_the_example_file_is_up_to_date():
    assert json.loads((FOLDER / "readme_example.json").read_text(encoding="utf-8")) == example.as_file(), (
        UPDATE
    )


def test_the_example_passes_every_check():
    assert example.verify(example.response()) == {"weights": ["glp1", "full"], "tokenizer": []}


@pytest.mark.parametrize("row", checks(), ids=lambda row: row.rule[:40])
def test_each_rule_of_the_example_gives_its_code_when_it_is_violated(row):
    with pytest.raises(ContractError) as error:
        row.violate()
    assert error.value.code in (GENERIC_CODES if row.code == "section 2" else {row.code})


def test_the_example_patch_makes_the_target_that_the_manifest_names():
    target = next(part for part in example.manifest().variants[0].components if part.name == "weights")
    assert (example.sha(example.PATCH.target), len(example.PATCH.target)) == (target.sha256, target.size)


def test_an_sdk_can_verify_the_example_file():
    content = json.loads((FOLDER / "readme_example.json").read_text(encoding="utf-8"))
    bundle = TrustBundle.from_initial_envelope(json.dumps(content["trust"]).encode())
    directive = json.dumps(content["response"]["directive"]).encode()
    assert verify_directive(directive, example.poll_context(), bundle).action == "install"


def test_it_states_the_size_of_the_verification_code():
    texts = [inspect.getsource(module) for module in MODULES]
    fields = sum(map(field_lines, texts))
    assert f"They have {sum(map(code_lines, texts)) - fields} lines of code and {fields} lines" in TEXT


def test_every_vector_and_scenario_that_it_names_exists():
    known = {case["id"] for family in FAMILIES for case in load(family)}
    known |= {scenario.name for scenario in SCENARIOS}
    table = TEXT.partition("<!-- attacks -->")[2]
    named = set(re.findall(r"`([a-z_]+\.[^`]+)`", table)) - {"vectors/attacks.json", "validation.py"}
    assert named <= known
    assert len(named) > 50


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=lambda kind: kind.__name__)
def test_it_gives_type_limit_and_role_of_every_document(document):
    row = f"| `{document.payload_type}` | {document.limit // 1024} KiB | {document.role} |"
    assert row in TEXT


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "post"], ids=lambda r: r.path)
def test_it_describes_every_request_that_a_device_makes(route):
    assert f"POST {route.path}" in TEXT


@pytest.mark.parametrize("family", FAMILIES)
def test_it_describes_every_family_of_vectors(family):
    assert f"| `{family}` |" in TEXT
