import json
import re
import signal
import subprocess
import sys

import pytest

from sdk_contract.client.cli.main import main
from tests.sdk_contract.client.conftest import fine_tuned, weights

BASE = weights(3, 50_000)
NEXT = fine_tuned(BASE)


@pytest.fixture
def directory(server, tmp_path):
    server.publish("v1", 1, {"backbone": BASE})
    server.publish("v2", 2, {"backbone": NEXT})
    (tmp_path / "trust.json").write_bytes(server.trust_chain[0])
    factory = tmp_path / "factory"
    factory.mkdir()
    (factory / "manifest.json").write_bytes(server.versions["v1"].envelope)
    (factory / "backbone.bin").write_bytes(BASE)
    options = ["--server", server.base, "--token", "let-me-in", "--trust", str(tmp_path / "trust.json")]
    more = [
        "--device-id",
        "d1",
        "--attribute",
        "ram_mb=8192",
        "--attribute",
        "region=eu",
        "--factory",
        str(factory),
    ]
    assert main(["enroll", "--dir", str(tmp_path / "d"), *options, *more]) == 0
    return str(tmp_path / "d")


def test_enroll_update_and_status_work_in_one_directory(server, directory, capsys):
    server.target = "v2"
    assert main(["update", "--dir", directory, "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["status"], result["version"]) == ("updated", "v2")
    assert main(["status", "--dir", directory, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["version"], status["previous"]) == ("idle", "v2", "v1")
    assert server.polls[-1].attributes == {"ram_mb": 8192, "region": "eu"}


def test_commands_get_the_paths_of_the_files(server, directory, tmp_path):
    script = tmp_path / "activate"
    script.write_text(f'#!/bin/sh\ncp "$GRAYLAG_COMPONENT_BACKBONE" {tmp_path}/served\n')
    script.chmod(0o755)
    server.target = "v2"
    health = "sh -c 'echo {\\\"quality\\\": 0.5}'"
    assert main(["update", "--dir", directory, "--on-activate", str(script), "--health-check", health]) == 0
    assert (tmp_path / "served").read_bytes() == NEXT
    assert server.events[-1].metrics["quality"] == 0.5


def test_an_unhealthy_server_gets_its_old_version_back(server, directory, tmp_path):
    script = tmp_path / "activate"
    script.write_text(f'#!/bin/sh\necho "$GRAYLAG_VERSION" >> {tmp_path}/activated\n')
    script.chmod(0o755)
    server.target = "v2"
    options = ["--on-activate", str(script), "--health-check", "false", "--health-timeout", "0"]
    assert main(["update", "--dir", directory, *options]) == 1
    assert (tmp_path / "activated").read_text().split() == ["v2", "v1"]
    assert server.events[-1].code == "smoke_failed"


def test_an_unreachable_server_is_a_failure_with_a_code(server, directory, capsys):
    server.server.shutdown()
    server.server.server_close()
    assert main(["update", "--dir", directory, "--json"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "unreachable"


def test_a_directory_without_a_device_is_a_failure_that_says_what_to_do(tmp_path, capsys):
    assert main(["status", "--dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "state_damaged" in said
    assert "enroll" in said


def test_an_attribute_without_a_value_is_a_usage_error(directory, capsys):
    with pytest.raises(SystemExit) as end:
        main(["set-attributes", "--dir", directory, "app_version"])
    assert end.value.code == 2
    assert "'app_version' is not NAME=VALUE" in capsys.readouterr().err


def test_readable_status_has_a_date_and_no_python_values(server, directory, capsys):
    assert main(["status", "--dir", directory]) == 0
    assert "last_verified_check_at   -" in capsys.readouterr().out
    main(["update", "--dir", directory])
    main(["status", "--dir", directory])
    said = capsys.readouterr().out
    assert re.search(r"last_verified_check_at   \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\n", said)
    assert "None" not in said


def test_without_a_load_command_no_load_time_is_reported(server, directory):
    server.target = "v2"
    assert main(["update", "--dir", directory]) == 0
    assert all("load_ms" not in (event.metrics or {}) for event in server.events)


def test_a_version_on_probation_waits_for_the_health_command(server, directory, capsys):
    server.target = "v2"
    assert main(["update", "--dir", directory, "--probation", "600", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "probation"
    assert main(["update", "--dir", directory, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "probation"
    assert main(["health", "--dir", directory, "good"]) == 0
    assert server.states[-1] == "committed"


def test_low_storage_is_an_option(server, directory):
    server.patch(BASE, NEXT)
    server.target = "v2"
    assert main(["update", "--dir", directory, "--low-storage"]) == 0
    main(["status", "--dir", directory])
    assert server.events[-1].state == "committed"


def test_components_are_chosen_on_the_command_line(server, directory, capsys):
    assert main(["set-components", "--dir", directory, "backbone"]) == 0
    assert main(["set-components", "--dir", directory, "smell"]) == 1
    assert "mixed_versions" in capsys.readouterr().err
    main(["update", "--dir", directory])
    assert server.polls[-1].wanted_components == ["backbone"]


def test_set_attributes_changes_the_named_attributes_only(server, directory):
    assert (
        main(["set-attributes", "--dir", directory, "app_version=5.10", "ram_mb=4096", "rooted=false"]) == 0
    )
    main(["update", "--dir", directory])
    assert server.polls[-1].attributes == {
        "ram_mb": 4096,
        "region": "eu",
        "app_version": "5.10",
        "rooted": False,
    }


@pytest.mark.parametrize("wrong", ["--device-id=../../etc", "--attribute=bad name=1", "--component=a/b"])
def test_an_invalid_value_is_a_usage_error_that_names_the_field(server, tmp_path, capsys, wrong):
    (tmp_path / "trust.json").write_bytes(server.trust_chain[0])
    options = ["--dir", str(tmp_path / "d"), "--server", server.base, "--token", "let-me-in"]
    assert main(["enroll", *options, "--trust", str(tmp_path / "trust.json"), wrong]) == 2
    assert capsys.readouterr().err.startswith("graylag-agent: ")


def test_run_polls_until_it_is_stopped(server, directory, tmp_path):
    server.target = "v2"
    command = [
        sys.executable,
        "-m",
        "sdk_contract.client.cli.main",
        "run",
        "--dir",
        directory,
        "--poll-now",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "updated"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
