import pytest

from service.cli.gates import show_gates


def shown(capsys, *, offered, early, late, withdrawn=0):
    reports = early[0] + late[0]
    figures = {
        "findings": [],
        "outcomes": {"offered": offered, "withdrawn": withdrawn},
        "coverage": reports / max(offered - withdrawn, 1),
        "early": {"reports": early[0], "failure_rate": early[1]},
        "late": {"reports": late[0], "failure_rate": late[1]},
    }
    show_gates(
        {"verdict": {"outcome": "hold", "reason": "r", "figures": figures}, "measured": {}, "held": []}
    )
    return capsys.readouterr().out


def test_who_has_not_reported_yet_is_said_beside_who_has(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, offered=110, withdrawn=10, early=(30, 0.1), late=(10, 0.2))
    assert "40 of 100 devices offered it have reported (40%)" in out
    assert "the others may be slow" in out
    assert "30 within an hour of the offer, 10.0% of them failed; 10 later, 20.0% of them failed" in out


def test_a_stage_without_gates_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing stops this stage by itself" in shown(capsys, offered=1, early=(1, 0.0), late=(0, None))


def test_nothing_is_said_of_others_where_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "others" not in shown(capsys, offered=100, early=(95, 0.0), late=(0, None))
    assert "nobody has been offered it yet" in shown(capsys, offered=0, early=(0, None), late=(0, None))


def test_late_reports_that_are_worse_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    warning = "those who come later fail more often"
    assert warning in shown(capsys, offered=300, early=(200, 0.01), late=(100, 0.1))
    assert warning not in shown(capsys, offered=300, early=(200, 0.01), late=(100, 0.02))
    assert warning not in shown(capsys, offered=210, early=(200, 0.01), late=(10, 0.5))
