"""`docker-compose.yml` and `deploy/Dockerfile` against the code: every command, option and variable exists."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from service.cli.main import build
from service.config import Settings
from service.jobs import ALL_QUEUES, BUILD_PATCH, QUEUES, SIGN_VERSION
from tests.deploy.settings_table import variable

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("graylag:")}
SERVERS = {name: service for name, service in SERVICES.items() if name not in OURS}
ONE_SHOT = {"migrate"}
EXAMPLE = (ROOT / "deploy" / "example.env").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
CLI = typer.main.get_command(build())
VARIABLES = {variable(name) for name in Settings.model_fields}

KEY_HOLDERS = {
    "GRAYLAG_DIRECTOR_KEY": {"api"},
    "GRAYLAG_ACCESS_TOKEN_SECRET": {"api"},
    "GRAYLAG_PATCHER_KEY": {"worker-delta"},
    "GRAYLAG_PUBLISHER_KEY": {"worker-signing"},
}
"""Variable -> the processes that may know it."""
FILE_HOLDERS = {"director": {"api"}, "patcher": {"worker-delta"}, "publisher": {"worker-signing"}}


def parse(command):
    """The options that Typer makes of a command line; refuses what does not exist."""
    name, subcommand, rest = CLI.resolve_command(typer.Context(CLI), list(command))
    return name, subcommand.make_context(name, rest).params


def queues_of(service):
    name, options = parse(service["command"])
    return options["queues"].split(",") if name == "worker" else []


def without_default(text):
    return set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+):\?", text))


# --- commands and variables -----------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_process_runs_a_command_that_exists_with_options_that_exist(name):
    assert parse(OURS[name]["command"])[0] in {"api", "worker", "beat", "migrate"}


def test_all_single_processes_are_there():
    assert {parse(service["command"])[0] for service in OURS.values()} == {"api", "worker", "beat", "migrate"}


def test_a_misspelt_option_would_be_seen():
    with pytest.raises(Exception, match="No such option"):
        parse(["api", "--prot", "8000"])
    with pytest.raises(Exception, match="No such command"):
        parse(["serve"])


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_process_is_a_setting(name):
    assert set(OURS[name]["environment"]) <= VARIABLES


def test_every_graylag_variable_in_the_files_is_a_setting():
    named = set(re.findall(r"GRAYLAG_[A-Z0-9_]*[A-Z0-9]", TEXT + EXAMPLE + DOCKERFILE))
    assert named <= VARIABLES


def test_the_values_written_here_are_ones_that_settings_accept():
    for service in OURS.values():
        plain = {name: value for name, value in service["environment"].items() if "${" not in str(value)}
        Settings(**{name.removeprefix("GRAYLAG_").lower(): value for name, value in plain.items()})


def test_defaults_written_here_are_those_of_the_code():
    defaults = dict(re.findall(r"\$\{GRAYLAG_([A-Z0-9_]+):-([^}]*)\}", TEXT))
    del defaults["S3_PUBLIC_ENDPOINT"]
    settings = Settings.model_fields
    assert {name: str(settings[name.lower()].default).lower() for name in defaults} == defaults


def test_every_value_that_has_to_be_given_is_in_the_example():
    assert without_default(TEXT) <= set(re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))


def test_the_example_asks_for_nothing_that_is_not_used():
    asked = set(re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    assert asked <= set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT))


def test_the_example_holds_no_secret():
    values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert {values[name] for name in without_default(TEXT)} == {""}


# --- queues ---------------------------------------------------------------------------------------


def test_every_queue_has_exactly_one_kind_of_worker():
    listened = [queue for service in OURS.values() for queue in queues_of(service)]
    assert sorted(listened) == sorted(ALL_QUEUES)


def test_the_worker_of_a_queue_holds_the_key_that_its_jobs_need():
    holders = {queue: name for name, service in OURS.items() for queue in queues_of(service)}
    assert "GRAYLAG_PATCHER_KEY" in OURS[holders[QUEUES[BUILD_PATCH]]]["environment"]
    assert "GRAYLAG_PUBLISHER_KEY" in OURS[holders[QUEUES[SIGN_VERSION]]]["environment"]


# --- least privilege ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEY_HOLDERS)
def test_a_key_goes_to_the_processes_that_need_it_and_no_others(key):
    assert {
        name for name, service in SERVICES.items() if key in service.get("environment", {})
    } == KEY_HOLDERS[key]


@pytest.mark.parametrize("secret", FILE_HOLDERS)
def test_a_key_file_is_mounted_where_it_is_used_and_nowhere_else(secret):
    assert {
        name for name, service in SERVICES.items() if secret in service.get("secrets", [])
    } == FILE_HOLDERS[secret]


def test_a_key_variable_names_the_file_that_is_mounted():
    for name, service in OURS.items():
        uris = {
            value
            for key, value in service["environment"].items()
            if key.endswith("_KEY") and "_S3_" not in key
        }
        assert uris == {f"file:/run/secrets/{secret}" for secret in service.get("secrets", [])}, name


def test_the_root_key_is_on_no_server():
    assert set(COMPOSE["secrets"]) == set(FILE_HOLDERS)
    assert not any("root.pem" in secret["file"] for secret in COMPOSE["secrets"].values())


def test_who_moves_no_bytes_gets_no_key_to_the_objects():
    for name in ("migrate", "beat"):
        assert not [key for key in OURS[name]["environment"] if "_S3_" in key]


def test_beat_knows_the_broker_alone():
    assert set(OURS["beat"]["environment"]) == {"GRAYLAG_REDIS_URL"}


@pytest.mark.parametrize("name", OURS)
def test_a_process_cannot_change_its_image_nor_gain_rights(name):
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


def test_nothing_listens_beyond_this_machine():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_neither_database_nor_broker_is_published():
    assert "ports" not in SERVICES["postgres"]
    assert "ports" not in SERVICES["valkey"]


# --- health and order -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_everything_says_how_it_is_or_ends(name):
    if name in ONE_SHOT:
        assert "healthcheck" not in SERVICES[name]
        assert SERVICES[name]["restart"] == "on-failure"
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_waited_for_is_healthy_or_done(name):
    for other, waited in (SERVICES[name].get("depends_on") or {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert waited["condition"] == expected


@pytest.mark.parametrize("name", sorted(OURS.keys() - ONE_SHOT))
def test_no_process_starts_before_the_schema_is_there(name):
    assert "migrate" in OURS[name]["depends_on"]


def test_the_api_is_asked_where_it_listens():
    _, options = parse(OURS["api"]["command"])
    assert f":{options['port']}/ready" in OURS["api"]["healthcheck"]["test"][-1]
    assert OURS["api"]["ports"] == [f"127.0.0.1:8000:{options['port']}"]


def test_a_worker_answers_pings_while_it_works():
    # A `solo` worker answers nobody during a job; two at a time means a pool of processes.
    assert all(
        parse(s["command"])[1]["concurrency"] > 1 for s in OURS.values() if parse(s["command"])[0] == "worker"
    )


def test_the_bucket_that_is_made_is_the_one_that_is_used():
    bucket = OURS["api"]["environment"]["GRAYLAG_S3_BUCKET"]
    assert f"-bucket={bucket}" in SERVERS["seaweedfs"]["command"]
    assert f"/buckets/{bucket}/" in SERVERS["seaweedfs"]["healthcheck"]["test"][-1]


def test_what_has_to_last_lies_on_a_volume():
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])
    assert all("volumes" in service for service in SERVERS.values())


def test_images_are_pinned_to_a_release():
    assert all(re.fullmatch(r"[a-z/]+:\d[\d.]*", service["image"]) for service in SERVERS.values())


# --- the image ------------------------------------------------------------------------------------


def instructions(word):
    return re.findall(rf"^{word} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_the_image_is_built_in_two_stages_and_runs_without_root():
    assert len(instructions("FROM")) == 2
    assert instructions("USER") == ["10001"]
    assert instructions("ENTRYPOINT") == ['["graylag"]']


def test_every_dependency_is_checked_against_its_hash():
    fetching = [line for line in instructions("RUN") if re.search(r"pip (install|download|wheel)", line)]
    assert len([line for line in fetching if "--no-index" not in line]) == 1
    assert all(
        "--require-hashes" in line and "-r requirements.lock" in line
        for line in fetching
        if "--no-index" not in line
    )


def test_everything_that_is_copied_exists_and_every_package_is_copied():
    sources = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    assert {"sdk_contract", "service", "workers", "migrations"} <= set(sources)


def test_the_build_sees_only_what_it_copies():
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    sources = {word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert "*" in ignored
    assert {rule[1:] for rule in ignored if rule.startswith("!")} == sources
