"""Starting and stopping the whole service, kindly and not."""

import signal

import psutil

from tests.journeys.conftest import PATIENCE_S, family_of, run, start_up

FACTS = {
    "api_url",
    "admin_token",
    "enrolment_token",
    "database_url",
    "redis_url",
    "s3_endpoint",
    "s3_bucket",
    "pid",
}


def test_it_ends_quietly_on_ctrl_c_and_leaves_no_process(open_dir):
    up = start_up(open_dir / "data")
    assert up.facts.keys() >= FACTS
    assert up.stop(signal.SIGINT) == 0


def test_killed_it_leaves_no_process_and_starts_again_with_its_data_and_ends_quietly_when_told(open_dir):
    up = start_up(open_dir / "data")
    up.api.call("PUT", "/v1/admin/models/phone", {})
    family = family_of(up.process)
    up.stop(signal.SIGKILL)
    assert not [
        process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    again = start_up(open_dir / "data")
    assert again.facts["admin_token"] == up.facts["admin_token"]
    assert [model["name"] for model in again.api.call("GET", "/v1/admin/models")] == ["phone"]
    assert again.stop(signal.SIGTERM) == 0


def test_a_second_one_in_the_same_place_is_refused_and_says_what_to_do(up):
    second = run("graylag", "up", "--json", "--port", "0", "--data", up.directory)
    assert second.returncode == 1
    assert "--data" in second.stderr
    assert up.process.poll() is None


def test_a_process_that_dies_takes_the_service_down_and_is_named(open_dir):
    up = start_up(open_dir / "data")
    api = next(process for process in family_of(up.process) if "api" in process.cmdline())
    api.kill()
    up.process.wait(PATIENCE_S)
    up.process.stdout.close()
    up.api.__exit__()
    assert up.process.returncode == 1
    assert "api ended" in (open_dir / "data.err").read_text()
