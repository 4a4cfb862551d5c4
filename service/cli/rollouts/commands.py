"""`graylag rollout`: the command group, and `graylag rollout create`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import pluralize, print_json
from service.cli.rollouts import actions, preview, status
from service.cli.rollouts.status import BASE
from service.cli.yaml_files import read_yaml

app = typer.Typer(help="Create, watch and control rollouts.", no_args_is_help=True)


@app.command("create")
def create(
    file: Annotated[
        Path | None, typer.Option("-f", "--file", exists=True, help="YAML or JSON file of the rollout.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the rollout.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    version: Annotated[str | None, typer.Option(help="Label of the version.")] = None,
    template: Annotated[str | None, typer.Option(help="Template that provides stages and policy.")] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="COHORT:PERCENT[:REPORTS]. Repeat for each stage, in order."),
    ] = None,
    max_failure_rate: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Failure rate (0 to 1) above which the rollout halts; for stages given with --stage.",
        ),
    ] = 0.05,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a draft of a rollout; no device is offered anything before `graylag rollout start`.

    Describe it in a file, or with options: --name r --model m --version v2, and --template careful or --stage
    internal:50:20 --stage everyone:100. Options override the file.
    """
    options = {"name": name, "model": model, "version": version, "template": template}
    body = _request_body(file, options, _stages(stage or [], max_failure_rate))
    with AdminApi.from_environment(url, token) as api:
        rollout = api.post_idempotent(BASE, body)
    if as_json:
        print_json(rollout)
        return
    typer.echo(
        f"{rollout['name']} is a draft of {pluralize(len(rollout['stages']), 'stage')}; "
        f"start it with: graylag rollout start {rollout['name']}"
    )


app.command("preview")(preview.preview)
app.command("list")(status.list_rollouts)
app.command("status")(status.status)
app.command("watch")(status.watch)
app.command("gate-history")(status.gate_history)
app.command("resume-class")(actions.resume_class)
for _action in actions.ACTIONS:
    app.command(_action)(actions.action_command(_action))


def _request_body(
    file: Path | None, options: dict[str, str | None], stages: list[dict[str, Any]]
) -> dict[str, Any]:
    content = read_yaml(file) if file else {}
    if not isinstance(content, dict):
        raise CliError(
            f"{file} does not hold a rollout; write an object with name, model, version and stages"
        )
    body = {**content, **{key: value for key, value in options.items() if value}}
    body |= {"stages": stages} if stages else {}
    missing = [f"--{key}" for key in ("name", "model", "version") if not body.get(key)]
    if not (body.get("stages") or body.get("template")):
        missing.append("--stage or --template")
    if missing:
        raise CliError(f"missing {', '.join(missing)}; give them as options or in --file")
    return body


def _stages(texts: list[str], max_failure_rate: float) -> list[dict[str, Any]]:
    gates = [{"metric": "failure_rate", "max": max_failure_rate}]
    return [{**_parse_stage(text), "gates": gates} for text in texts]


def _parse_stage(text: str) -> dict[str, Any]:
    cohort, _, rest = text.partition(":")
    percent, _, reports = rest.partition(":")
    try:
        return {"cohort": cohort, "percent": float(percent), "advance_when": {"reports": int(reports or 1)}}
    except ValueError as error:
        raise CliError(
            f"--stage {text!r} is not of the form COHORT:PERCENT[:REPORTS], for example beta:10:500"
        ) from error
