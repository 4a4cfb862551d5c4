"""`graylag up`: start and stop the whole service."""

import signal

import psutil

from tests.journeys.conftest import process_tree, run, start_up
from tests.waiting import PATIENCE_S

FACTS = {
    "api_url",
    "admin_token",
    "enrollment_token",
    "database_url",
    "redis_url",
    "s3_endpoint",
    "s3_bucket",
    "pid",
}


def test_a_killed_service_leaves_no_process_and_keeps_its_data_and_ctrl_c_stops_the_next(open_dir):
    up = start_up(open_dir / "data")
    assert up.facts.keys() >= FACTS
    up.api.call("PUT", "/v1/admin/models/phone", {})
    processes = process_tree(up.process)
    up.stop(signal.SIGKILL)
    assert not [
        process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    again = start_up(open_dir / "data")
    assert again.facts["admin_token"] == up.facts["admin_token"]
    assert [model["name"] for model in again.api.call("GET", "/v1/admin/models")] == ["phone"]
    assert again.stop(signal.SIGINT) == 0


def test_a_second_service_in_the_same_directory_is_rejected_with_a_hint(up):
    second = run("graylag", "up", "--json", "--port", "0", "--data", up.directory)
    assert second.returncode == 1
    assert "--data" in second.stderr
    assert up.process.poll() is None


def test_the_service_stops_if_one_process_dies_and_names_it(open_dir):
    up = start_up(open_dir / "data")
    api = next(process for process in process_tree(up.process) if "api" in process.cmdline())
    api.kill()
    up.process.wait(PATIENCE_S)
    assert up.process.stdout is not None
    up.process.stdout.close()
    up.api.__exit__()
    assert up.process.returncode == 1
    assert "api ended" in (open_dir / "data.err").read_text()
