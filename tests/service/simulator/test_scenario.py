import pytest

from service.cli.errors import CliError
from service.simulator.scenario import load, names


def test_every_built_in_scenario_is_valid():
    assert names() == ["bad-model", "gentle", "outage"]
    assert [load(name).hours > 0 for name in names()] == [True] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hours: -1", "hours"),
        ("outcomes: {v2: {failed: 2}}", r"outcomes\.v2\.failed"),
        ("outcomes: {v2: {failed: 0.6, silent: 0.6}}", "greater than 1"),
        ("color: red", "color: unknown field; known fields: model, hours, poll_interval_s"),
        ("pol_interval_s: 60", r"pol_interval_s: unknown field; did you mean poll_interval_s\?"),
        ("networks: {wifi: {los: 0.1}}", r"networks\.wifi\.los: .*did you mean loss\?"),
        ("- 1", "the file: "),
        ("[", "one.yaml cannot be read"),
    ],
)
def test_an_invalid_scenario_is_rejected_with_the_name_of_the_field(tmp_path, content, message):
    path = tmp_path / "one.yaml"
    path.write_text(content)
    with pytest.raises(CliError, match=message):
        load(str(path))


def test_an_unknown_name_is_rejected_with_the_built_in_scenarios():
    with pytest.raises(CliError, match="bad-model, gentle, outage"):
        load("nosuch")
