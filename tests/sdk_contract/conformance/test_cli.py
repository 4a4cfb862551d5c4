"""Output, reports and exit codes of the conformance command."""

import json
import sys
from xml.etree import ElementTree as ET

import pytest

from sdk_contract.conformance import report
from sdk_contract.conformance.cli import main
from sdk_contract.conformance.reference import execute
from sdk_contract.conformance.runner import Result, run_scenario
from sdk_contract.conformance.scenario import Scenario
from sdk_contract.conformance.sdk import CommandSdk, InProcessSdk

REFERENCE = f"{sys.executable} -m sdk_contract.conformance.reference"


def test_a_passed_run_is_reported_in_three_formats(tmp_path, capsys):
    assert main(["--sdk", REFERENCE, "--only", "happy_path.first-install", "--report", str(tmp_path)]) == 0
    assert "1 passed, 0 failed, 0 skipped" in capsys.readouterr().out
    report_json = json.loads((tmp_path / "conformance.json").read_text())
    assert report_json["counts"] == {"passed": 1, "failed": 0, "skipped": 0}
    assert report_json["results"][0]["name"] == "happy_path.first-install"
    suite = ET.parse(tmp_path / "conformance.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    assert "`happy_path.first-install` | ok" in (tmp_path / "conformance.md").read_text()


def test_a_command_that_does_nothing_fails(capsys):
    assert main(["--sdk", "false", "--only", "happy_path.nothing-offered"]) == 1
    assert "init ended with 1" in capsys.readouterr().out


def test_a_command_that_always_succeeds_without_doing_anything_fails(capsys):
    assert main(["--sdk", "true", "--only", "happy_path.first-install"]) == 1
    assert "version None runs, must be v1" in capsys.readouterr().out


def test_a_failure_shows_the_requirement_and_the_output_of_the_command(tmp_path, capsys):
    folder = str(tmp_path)
    command = f"{sys.executable} -c \"raise SystemExit('some output ' * 99 + 'and the last line')\""
    assert main(["--sdk", command, "--only", "happy_path.first-install", "--report", folder]) == 1
    shown = capsys.readouterr().out
    assert "requirement: A device without a model" in shown
    assert "and the last line" in shown
    assert "failed: happy_path.first-install\n0 passed, 1 failed, 0 skipped" in shown
    (line,) = [text for text in (tmp_path / "conformance.md").read_text().splitlines() if "FAILED" in text]
    assert "init ended with 1" in line
    assert "and the last line |" in line
    failure = ET.parse(tmp_path / "conformance.xml").find("testcase/failure")
    assert failure is not None
    assert 0 < len(failure.get("message", "")) < 400
    assert (failure.text or "").count("some output") == 99


def test_a_failure_lists_the_requests_of_the_sdk(tmp_path):
    scenario = Scenario(
        "a.b", "It works.", lambda session: session.start_with_offer().expect_refusal("never")
    )
    result = run_scenario(scenario, InProcessSdk(execute))
    assert result.verdict == "failed"
    assert result.requests[:3] == ("POST /v1/device/enroll", "POST /v1/device/token", "POST /v1/model/update")
    assert any(request.startswith("GET /objects/") and "?" not in request for request in result.requests)
    report.write([result], "cmd", tmp_path)
    report_json = json.loads((tmp_path / "conformance.json").read_text())
    assert report_json["results"][0]["requests"] == list(result.requests)
    output = ET.parse(tmp_path / "conformance.xml").findtext("testcase/system-out", "")
    assert "POST /v1/model/update" in output


@pytest.mark.parametrize("command", ["/no/such/sdk --flag", "''", "'half a quote"])
def test_a_command_that_does_not_exist_is_an_error(command, capsys):
    assert main(["--sdk", command]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err


def test_a_report_folder_that_cannot_be_written_is_an_error_before_the_first_scenario(tmp_path, capsys):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["--sdk", "false", "--only", "happy_path.*", "--report", str(place)]) == 2
    assert not capsys.readouterr().out


def test_invalid_arguments_are_an_error(capsys):
    assert main(["--only", "happy_path.*"]) == 2
    assert main(["--sdk", "true", "--only", "no.such"]) == 2
    assert "no scenario matches no.such" in capsys.readouterr().err


def test_scenarios_can_be_listed(capsys):
    assert main(["--list", "--only", "rollback.*"]) == 0
    assert "rollback.older-version" in capsys.readouterr().out


def test_failures_come_first_in_the_report_and_are_escaped():
    scenario = Scenario("a.b", "It works.", lambda _: None)
    good, bad = Result(scenario, "passed", "", 0.1), Result(scenario, "failed", "x|y\x00\n<z>", 0.1)
    text = report.as_markdown([good, bad], "cmd")
    assert text.index("FAILED") < text.index("| ok |")
    assert "x\\|y? <z>" in text
    assert ET.fromstring(report.as_junit([good, bad])).findtext("testcase/failure") == "x|y?\n<z>"


def test_the_output_of_a_command_is_the_object_on_its_last_line():
    sdk = CommandSdk(f'{sys.executable} -c "print(\'hello\'); print(\'{{\\"code\\": \\"x\\"}}\')"')
    reply = sdk.call([])
    assert (reply.exit_code, reply.code) == (0, "x")
    assert CommandSdk(f'{sys.executable} -c "print(7)"').call([]).output == {}
    assert CommandSdk(f'{sys.executable} -c "raise SystemExit(3)"').call([]).exit_code == 3


def test_an_exception_of_a_python_sdk_counts_as_a_crash():
    def broken(_):
        raise ZeroDivisionError("oops")

    reply = InProcessSdk(broken).call([])
    assert reply.exit_code not in (0, 1)
    assert "oops" in reply.log
