"""The command: what it prints, writes and returns."""

import json
import sys
from xml.etree import ElementTree as ET

import pytest

from sdk_contract.conformance import report
from sdk_contract.conformance.cli import main
from sdk_contract.conformance.reference import execute
from sdk_contract.conformance.runner import Result, play
from sdk_contract.conformance.scenario import Scenario
from sdk_contract.conformance.sdk import CommandSdk, InProcessSdk

REFERENCE = f"{sys.executable} -m sdk_contract.conformance.reference"


def test_an_sdk_that_conforms_is_told_so_in_three_formats(tmp_path, capsys):
    assert main(["--sdk", REFERENCE, "--only", "everyday.first-install", "--report", str(tmp_path)]) == 0
    assert "1 passed, 0 failed, 0 skipped" in capsys.readouterr().out
    told = json.loads((tmp_path / "conformance.json").read_text())
    assert told["counts"] == {"passed": 1, "failed": 0, "skipped": 0}
    assert told["results"][0]["name"] == "everyday.first-install"
    suite = ET.parse(tmp_path / "conformance.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    assert "`everyday.first-install` | ok" in (tmp_path / "conformance.md").read_text()


def test_a_command_that_does_nothing_fails(capsys):
    assert main(["--sdk", "false", "--only", "everyday.nothing-offered"]) == 1
    assert "init ended with 1" in capsys.readouterr().out


def test_a_command_that_always_says_yes_fails_too(capsys):
    assert main(["--sdk", "true", "--only", "everyday.first-install"]) == 1
    assert "must run v1" in capsys.readouterr().out


def test_a_failure_shows_what_the_command_said_and_asked(tmp_path, capsys):
    folder = str(tmp_path)
    command = f"{sys.executable} -c \"raise SystemExit('words of its own ' * 99 + 'and the last ones')\""
    assert main(["--sdk", command, "--only", "everyday.first-install", "--report", folder]) == 1
    shown = capsys.readouterr().out
    assert "must hold: A device with no model" in shown
    assert "and the last ones" in shown
    assert "failed: everyday.first-install\n0 passed, 1 failed, 0 skipped" in shown
    (line,) = [text for text in (tmp_path / "conformance.md").read_text().splitlines() if "FAILED" in text]
    assert "init ended with 1" in line
    assert "and the last ones |" in line
    failure = ET.parse(tmp_path / "conformance.xml").find("testcase/failure")
    assert len(failure.get("message")) < 400
    assert failure.text.count("words of its own") == 99


def test_a_failure_lists_the_requests_that_came(tmp_path):
    polls = Scenario("a.b", "It holds.", lambda stage: stage.ready().refuses("never"))
    result = play(polls, InProcessSdk(execute))
    assert result.verdict == "failed"
    assert result.requests[:3] == ("POST /v1/device/enroll", "POST /v1/device/token", "POST /v1/model/update")
    assert any(request.startswith("GET /objects/") and "?" not in request for request in result.requests)
    report.write([result], "cmd", tmp_path)
    told = json.loads((tmp_path / "conformance.json").read_text())
    assert told["results"][0]["requests"] == list(result.requests)
    assert "POST /v1/model/update" in ET.parse(tmp_path / "conformance.xml").find("testcase/system-out").text


@pytest.mark.parametrize("command", ["/no/such/sdk --flag", "''", "'half a quote"])
def test_what_cannot_be_started_is_not_played(command, capsys):
    assert main(["--sdk", command]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err


def test_a_place_where_no_report_can_be_is_told_before_anything_is_played(tmp_path, capsys):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["--sdk", "false", "--only", "everyday.*", "--report", str(place)]) == 2
    assert not capsys.readouterr().out


def test_wrong_use_is_told(capsys):
    assert main(["--only", "everyday.*"]) == 2
    assert main(["--sdk", "true", "--only", "no.such"]) == 2
    assert "no scenario of that name" in capsys.readouterr().err


def test_scenarios_can_be_listed(capsys):
    assert main(["--list", "--only", "rollback.*"]) == 0
    assert "rollback.older-version" in capsys.readouterr().out


def test_a_failure_is_first_in_the_report_and_cannot_break_it():
    story = Scenario("a.b", "It holds.", lambda _: None)
    good, bad = Result(story, "passed", "", 0.1), Result(story, "failed", "x|y\x00\n<z>", 0.1)
    text = report.as_markdown([good, bad], "cmd")
    assert text.index("FAILED") < text.index("| ok |")
    assert "x\\|y? <z>" in text
    assert ET.fromstring(report.as_junit([good, bad])).find("testcase/failure").text == "x|y?\n<z>"


def test_what_a_command_says_is_the_object_on_its_last_line():
    sdk = CommandSdk(f'{sys.executable} -c "print(\'hello\'); print(\'{{\\"code\\": \\"x\\"}}\')"')
    reply = sdk.call([])
    assert (reply.exit_code, reply.code) == (0, "x")
    assert CommandSdk(f'{sys.executable} -c "print(7)"').call([]).told == {}
    assert CommandSdk(f'{sys.executable} -c "raise SystemExit(3)"').call([]).exit_code == 3


def test_an_exception_of_a_python_sdk_is_a_crash():
    def broken(_):
        raise ZeroDivisionError("oops")

    reply = InProcessSdk(broken).call([])
    assert reply.exit_code not in (0, 1)
    assert "oops" in reply.log
