"""The pages of `service/` describe the code as it is."""

import importlib
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from sdk_contract.reasons import REASON_TEXTS, Reason
from service.api.schemas.rollouts import RolloutBody
from service.domain.gates.definitions import parse_gate
from service.domain.rollouts.policy import parse_policy
from service.domain.rollouts.stages import check_stages
from service.simulator.scenario import Scenario
from tests.service import reference_page
from tests.service.gate_numbers import fewest_failures

ROOT = Path(__file__).parents[2]
README = ROOT / "service" / "README.md"
GUIDE = ROOT / "service" / "guide"
STEPS = re.findall(
    r"^\d+\. `((?:service|workers|sdk_contract)/[\w/]+\.py)` `([\w.]+)`",
    README.read_text(encoding="utf-8"),
    re.MULTILINE,
)


def blocks(page):
    """The YAML blocks of a page of the guide."""
    return re.findall(
        r"^```yaml\n(.*?)^```", (GUIDE / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_reference_page_is_up_to_date():
    written = reference_page.PAGE.read_text(encoding="utf-8")
    assert written == reference_page.page(), "run make reference"


def test_every_poll_reason_has_a_meaning():
    assert set(REASON_TEXTS) == set(get_args(Reason))


def test_the_readme_is_one_page():
    assert len(README.read_text(encoding="utf-8").split()) <= 900


def test_the_readme_links_to_every_page_of_the_guide():
    linked = set(re.findall(r"\(guide/([\w-]+\.md)", README.read_text(encoding="utf-8")))
    assert linked == {page.name for page in GUIDE.glob("*.md")}


def test_the_readme_shows_four_flows():
    assert len(STEPS) >= 20


@pytest.mark.parametrize(("path", "name"), STEPS)
def test_every_step_of_a_flow_names_existing_code(path, name):
    found = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for part in name.split("."):
        found = getattr(found, part)


def test_the_glossary_has_at_most_40_terms():
    text = (GUIDE / "glossary.md").read_text(encoding="utf-8")
    assert 0 < len(re.findall(r"^\| \*\*", text, re.MULTILINE)) <= 40


def yaml_block(name, number=0):
    return yaml.safe_load(blocks(name)[number])


def test_the_rollout_in_the_text_is_valid():
    body = RolloutBody.model_validate(yaml_block("rollouts.md")).model_dump(mode="json")
    check_stages(body["stages"], holdout=body["policy"]["holdout_percent"])
    assert parse_policy(body["policy"]).approvals == 1


def test_the_gates_in_the_text_are_valid():
    for gate in yaml_block("gates.md")["gates"]:
        parse_gate(gate, "gates", ())


def test_the_scenario_in_the_text_is_valid():
    assert Scenario.model_validate(yaml_block("measurements.md")).target == "v2"


def test_the_numbers_of_failures_in_the_text_are_what_a_gate_needs():
    rows = re.findall(
        r"^\| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) \|$",
        (GUIDE / "gates.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert rows
    for reports, *failures in rows:
        count = int(reports.replace(",", ""))
        assert [fewest_failures(count, bound) for bound in (0.01, 0.02, 0.05)] == [
            int(found) for found in failures
        ]
