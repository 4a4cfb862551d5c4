"""`graylag rollout`: take a version to the fleet, look at it, stop it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli import preview, rollout_show, rollout_verbs
from service.cli.documents import read_document
from service.cli.http import AdminApi, CliError
from service.cli.options import AsJson, Token, Url, counted, show_json
from service.cli.rollout_show import BASE

app = typer.Typer(help="Rollouts: a version on its way to the fleet.", no_args_is_help=True)


@app.command("create")
def create(
    file: Annotated[
        Path | None, typer.Option("-f", "--file", exists=True, help="YAML or JSON of the rollout.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the rollout.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    version: Annotated[str | None, typer.Option(help="Label of the version.")] = None,
    template: Annotated[str | None, typer.Option(help="Template to copy stages and policy from.")] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="COHORT:PERCENT[:REPORTS]; repeat in order.")
    ] = None,
    max_failures: Annotated[
        float, typer.Option(min=0, max=1, help="Failure rate above which it halts; for --stage.")
    ] = 0.05,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write a rollout down; nothing reaches a device before `start`.

    From a file, or from options: --name r --model m --version v2, and --template careful or --stage
    internal:50:20 --stage everyone:100. Options beside a file outrank it.
    """
    said = {"name": name, "model": model, "version": version, "template": template}
    body = _body(file, said, _stages(stage or [], max_failures))
    with AdminApi.from_environment(url, token) as api:
        made = api.once(BASE, body)
    if as_json:
        show_json(made)
        return
    typer.echo(
        f"{made['name']} is a draft of {counted(len(made['stages']), 'stage')}; graylag rollout start {made['name']}"
    )


app.command("preview")(preview.preview)
app.command("list")(rollout_show.list_rollouts)
app.command("status")(rollout_show.status)
app.command("watch")(rollout_show.watch)
app.command("verdicts")(rollout_show.verdicts)
app.command("release")(rollout_verbs.release)
for _verb in rollout_verbs.VERBS:
    app.command(_verb)(rollout_verbs.command_of(_verb))


def _body(file: Path | None, said: dict[str, str | None], stages: list[dict[str, Any]]) -> dict[str, Any]:
    written = read_document(file) if file else {}
    if not isinstance(written, dict):
        raise CliError(f"{file} holds no rollout: name, model, version, stages")
    body = {**written, **{key: value for key, value in said.items() if value}}
    body |= {"stages": stages} if stages else {}
    missing = [key for key in ("name", "model", "version") if not body.get(key)]
    if missing or not (body.get("stages") or body.get("template")):
        raise CliError("give --name, --model, --version, and --stage or --template; or all in --file")
    return body


def _stages(texts: list[str], max_failures: float) -> list[dict[str, Any]]:
    gates = [{"metric": "failure_rate", "max": max_failures}]
    return [{**_stage(text), "gates": gates} for text in texts]


def _stage(text: str) -> dict[str, Any]:
    cohort, _, rest = text.partition(":")
    percent, _, reports = rest.partition(":")
    try:
        return {"cohort": cohort, "percent": float(percent), "hold": {"reports": int(reports or 1)}}
    except ValueError as error:
        raise CliError(
            f"--stage is COHORT:PERCENT[:REPORTS], for example beta:10:500, not {text!r}"
        ) from error
