"""`docker-compose.yml` and `deploy/Dockerfile` match the code: commands, options, variables, keys and health checks."""

import re
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from service.cli.main import build_app
from service.config import Settings
from service.infrastructure.jobs import ALL_QUEUES, BUILD_PATCH, QUEUES, SIGN_VERSION
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
CLI = typer.main.get_command(build_app())
VARIABLES = {variable(name) for name in Settings.model_fields}

KEY_HOLDERS = {
    "GRAYLAG_DIRECTOR_KEY": {"api"},
    "GRAYLAG_ACCESS_TOKEN_SECRET": {"api"},
    "GRAYLAG_PATCHER_KEY": {"worker-delta"},
    "GRAYLAG_PUBLISHER_KEY": {"worker-signing"},
}
"""Variable -> processes that may have it."""
FILE_HOLDERS = {"director": {"api"}, "patcher": {"worker-delta"}, "publisher": {"worker-signing"}}


def parse(command):
    """Name and parsed options of a command line; fails for an unknown command or option."""
    assert isinstance(CLI, TyperGroup)
    name, subcommand, rest = CLI.resolve_command(typer.Context(CLI), list(command))
    assert subcommand is not None
    return name, subcommand.make_context(name, rest).params


def queues_of(service):
    name, options = parse(service["command"])
    return options["queues"].split(",") if name == "worker" else []


def without_default(text):
    return set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+):\?", text))


# --- commands and variables -----------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_process_runs_an_existing_command_with_existing_options(name):
    assert parse(OURS[name]["command"])[0] in {"api", "worker", "beat", "migrate"}


def test_every_kind_of_process_is_present():
    assert {parse(service["command"])[0] for service in OURS.values()} == {"api", "worker", "beat", "migrate"}


def test_a_misspelled_option_or_command_is_detected():
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


def test_all_literal_values_are_valid_settings():
    for service in OURS.values():
        plain = {name: value for name, value in service["environment"].items() if "${" not in str(value)}
        Settings(**{name.removeprefix("GRAYLAG_").lower(): value for name, value in plain.items()})


def test_defaults_match_the_code():
    defaults = dict(re.findall(r"\$\{GRAYLAG_([A-Z0-9_]+):-([^}]*)\}", TEXT))
    del defaults["S3_PUBLIC_ENDPOINT"]
    settings = Settings.model_fields
    assert {name: str(settings[name.lower()].default).lower() for name in defaults} == defaults


def test_every_required_value_is_in_the_example():
    assert without_default(TEXT) <= set(re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))


def test_every_value_of_the_example_is_used():
    asked = set(re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    assert asked <= set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT))


def test_the_example_contains_no_secret():
    values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert {values[name] for name in without_default(TEXT)} == {""}


# --- queues ---------------------------------------------------------------------------------------


def test_every_queue_has_exactly_one_kind_of_worker():
    listened = [queue for service in OURS.values() for queue in queues_of(service)]
    assert sorted(listened) == sorted(ALL_QUEUES)


def test_the_worker_of_a_queue_has_the_key_that_its_jobs_need():
    holders = {queue: name for name, service in OURS.items() for queue in queues_of(service)}
    assert "GRAYLAG_PATCHER_KEY" in OURS[holders[QUEUES[BUILD_PATCH]]]["environment"]
    assert "GRAYLAG_PUBLISHER_KEY" in OURS[holders[QUEUES[SIGN_VERSION]]]["environment"]


# --- least privilege ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEY_HOLDERS)
def test_only_the_processes_that_need_a_key_have_it(key):
    assert {
        name for name, service in SERVICES.items() if key in service.get("environment", {})
    } == KEY_HOLDERS[key]


@pytest.mark.parametrize("secret", FILE_HOLDERS)
def test_a_key_file_is_mounted_only_where_it_is_used(secret):
    assert {
        name for name, service in SERVICES.items() if secret in service.get("secrets", [])
    } == FILE_HOLDERS[secret]


def test_every_key_variable_refers_to_a_mounted_file():
    for name, service in OURS.items():
        uris = {
            value
            for key, value in service["environment"].items()
            if key.endswith("_KEY") and "_S3_" not in key
        }
        assert uris == {f"file:/run/secrets/{secret}" for secret in service.get("secrets", [])}, name


def test_the_root_key_is_not_mounted_anywhere():
    assert set(COMPOSE["secrets"]) == set(FILE_HOLDERS)
    assert not any("root.pem" in secret["file"] for secret in COMPOSE["secrets"].values())


def test_processes_without_files_have_no_access_to_the_object_store():
    for name in ("migrate", "beat"):
        assert not [key for key in OURS[name]["environment"] if "_S3_" in key]


def test_beat_has_only_the_broker_url():
    assert set(OURS["beat"]["environment"]) == {"GRAYLAG_REDIS_URL"}


@pytest.mark.parametrize("name", OURS)
def test_a_process_can_neither_write_to_its_image_nor_gain_privileges(name):
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


def test_all_published_ports_are_on_loopback():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_database_and_broker_publish_no_port():
    assert "ports" not in SERVICES["postgres"]
    assert "ports" not in SERVICES["valkey"]


# --- health and order -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_or_runs_once(name):
    if name in ONE_SHOT:
        assert "healthcheck" not in SERVICES[name]
        assert SERVICES[name]["restart"] == "on-failure"
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_must_be_healthy_or_completed(name):
    for other, waited in (SERVICES[name].get("depends_on") or {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert waited["condition"] == expected


@pytest.mark.parametrize("name", sorted(OURS.keys() - ONE_SHOT))
def test_no_process_starts_before_the_migration(name):
    assert "migrate" in OURS[name]["depends_on"]


def test_the_health_check_of_the_api_uses_its_port():
    _, options = parse(OURS["api"]["command"])
    assert f":{options['port']}/ready" in OURS["api"]["healthcheck"]["test"][-1]
    assert OURS["api"]["ports"] == [f"127.0.0.1:8000:{options['port']}"]


def test_every_worker_answers_pings_during_a_job():
    # With concurrency 1 Celery uses the `solo` pool, which does not answer during a job.
    assert all(
        parse(s["command"])[1]["concurrency"] > 1 for s in OURS.values() if parse(s["command"])[0] == "worker"
    )


def test_the_created_bucket_is_the_configured_one():
    bucket = OURS["api"]["environment"]["GRAYLAG_S3_BUCKET"]
    assert f"-bucket={bucket}" in SERVERS["seaweedfs"]["command"]
    assert f"/buckets/{bucket}/" in SERVERS["seaweedfs"]["healthcheck"]["test"][-1]


def test_servers_store_their_data_on_volumes():
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])
    assert all("volumes" in service for service in SERVERS.values())


def test_server_images_are_pinned_to_a_release():
    assert all(re.fullmatch(r"[a-z/]+:\d[\d.]*", service["image"]) for service in SERVERS.values())


# --- the image ------------------------------------------------------------------------------------


def instructions(word):
    return re.findall(rf"^{word} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_the_image_is_built_in_two_stages_and_runs_without_root():
    assert len(instructions("FROM")) == 2
    assert instructions("USER") == ["10001"]
    assert instructions("ENTRYPOINT") == ['["graylag"]']


def test_every_dependency_is_verified_by_its_hash():
    fetching = [line for line in instructions("RUN") if re.search(r"pip (install|download|wheel)", line)]
    assert len([line for line in fetching if "--no-index" not in line]) == 1
    assert all(
        "--require-hashes" in line and "-r requirements.lock" in line
        for line in fetching
        if "--no-index" not in line
    )


def test_all_copied_paths_exist_and_all_packages_are_copied():
    sources = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    assert {"sdk_contract", "service", "workers", "migrations"} <= set(sources)


def test_the_build_context_contains_only_what_is_copied():
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    sources = {word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert "*" in ignored
    assert {rule[1:] for rule in ignored if rule.startswith("!")} == sources
