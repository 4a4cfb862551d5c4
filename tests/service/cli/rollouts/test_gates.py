import pytest

from service.cli.rollouts.gates import print_gates


def shown(capsys, *, offered, early, late, withdrawn=0):
    """The output for these counts; `early` and `late` are (reports, failure rate)."""
    reports = early[0] + late[0]
    details = {
        "gate_results": [],
        "outcomes": {"offered": offered, "withdrawn": withdrawn},
        "coverage": reports / max(offered - withdrawn, 1),
        "early": {"reports": early[0], "failure_rate": early[1]},
        "late": {"reports": late[0], "failure_rate": late[1]},
    }
    evaluation = {"decision": "wait", "reason": "r", "details": details}
    print_gates({"evaluation": evaluation, "metrics": {}, "paused_classes": []})
    return capsys.readouterr().out


def test_the_share_of_devices_that_have_reported_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, offered=110, withdrawn=10, early=(30, 0.1), late=(10, 0.2))
    assert "40 of 100 devices that were offered the version have reported (40%)" in out
    assert "the others may be slow" in out
    assert "30 within an hour of the offer, 10.0% of them failed; 10 later, 20.0% of them failed" in out


def test_a_stage_without_gates_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert "this stage has no gates" in shown(capsys, offered=1, early=(1, 0.0), late=(0, None))


def test_missing_reports_are_not_mentioned_if_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the others" not in shown(capsys, offered=100, early=(95, 0.0), late=(0, None))
    no_offers = shown(capsys, offered=0, early=(0, None), late=(0, None))
    assert "no device has been offered the version yet" in no_offers


def test_a_higher_failure_rate_of_late_reports_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    warning = "late reports fail more often than early ones"
    assert warning in shown(capsys, offered=300, early=(200, 0.01), late=(100, 0.1))
    assert warning not in shown(capsys, offered=300, early=(200, 0.01), late=(100, 0.02))
    assert warning not in shown(capsys, offered=210, early=(200, 0.01), late=(10, 0.5))
