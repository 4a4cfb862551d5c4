import json

import yaml

from tests.service.support.actors import cohort, publish, rollout

FILE = """
cohorts:
  - name: cn
    rule: {attr: region, eq: cn-east}
templates:
  - name: careful
    stages:
      - {cohort: cn, percent: 10}
      - {cohort: cn, percent: 100}
    policy: {starts_at: 2999-01-01T08:00:00+08:00}
"""


def test_a_configuration_is_applied_shown_and_exported(graylag, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(FILE)
    dry_run = graylag("apply", "-f", file, "--dry-run")
    assert "+ create cohorts/cn" in dry_run
    assert "dry run, nothing was changed" in dry_run
    assert graylag.json("export") == {
        key: [] for key in ("models", "cohorts", "templates", "webhooks", "rollouts")
    }
    assert "+ create templates/careful" in graylag("apply", "-f", file)
    assert "0 changed or skipped, 2 unchanged" in graylag("apply", "-f", file)
    file.write_text(FILE.replace("percent: 10}", "percent: 20}"))
    assert "stages.0.percent: 10.0 -> 20.0" in graylag("apply", "-f", file)
    exported = tmp_path / "exported.yaml"
    exported.write_text(graylag("export"))
    assert yaml.safe_load(exported.read_text())["templates"][0]["stages"][0] == {
        "cohort": "cn",
        "percent": 20.0,
    }
    assert "0 changed or skipped, 2 unchanged" in graylag("apply", "-f", exported, "--prune")


def test_a_file_with_a_single_rollout_is_applied(graylag, tmp_path):
    publish(graylag.live, "v1", b"weights of the file")
    cohort(graylag.live)
    file = tmp_path / "rollout.yaml"
    file.write_text("{name: r, model: m, version: v1, stages: [{cohort: everyone, percent: 100}]}")
    assert "+ create rollouts/r" in graylag("apply", "-f", file)
    assert rollout(graylag.live, "r")["state"] == "draft"


def test_an_invalid_file_is_rejected_with_the_place(graylag, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("cohorts: [{name: a, rule: {}}, {name: b, rule: {any: [{attr: x, about: 1}]}}]")
    assert "(cohorts.1.rule.any.0) [invalid_rule]" in graylag("apply", "-f", file, status=1)
    file.write_text("cohorts: [}")
    assert "is not valid YAML" in graylag("apply", "-f", file, status=1)
    file.write_text("- 1")
    assert "must hold an object with any of models" in graylag("apply", "-f", file, status=1)
    assert "No such file" in graylag("apply", "-f", tmp_path / "absent.yaml", status=1)


def test_an_outdated_etag_is_rejected(graylag, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(FILE)
    seen = graylag.json("apply", "-f", file)["etag"]
    cohort(graylag.live, "meanwhile")
    assert "[config_changed]" in graylag("apply", "-f", file, "--if-match", seen, status=1)


def test_templates_are_created_shown_used_and_deleted(graylag, tmp_path):
    publish(graylag.live, "v1", b"weights of the template commands")
    cohort(graylag.live)
    file = tmp_path / "careful.yaml"
    file.write_text("stages: [{cohort: everyone, percent: 5}, {cohort: everyone, percent: 100}]")
    assert "2 stages" in graylag("template", "put", "careful", "-f", file)
    assert "5 % of everyone > 100 % of everyone" in graylag("template", "list")
    words = ("--name", "r", "--model", "m", "--version", "v1", "--template", "careful")
    assert "draft of 2 stages" in graylag("rollout", "create", *words)
    assert json.loads(graylag("template", "show", "careful"))["name"] == "careful"
    graylag("template", "delete", "careful")
    assert graylag.json("template", "list") == []
