"""Generates `service/guide/reference.md` from the code; run `python -m tests.service.reference_page` to update it."""

import inspect
import re
import typing
from pathlib import Path

import click
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sdk_contract.reasons import REASON_TEXTS
from service import errors
from service.api.schemas.rollouts import RolloutBody
from service.cli.main import build_app
from service.domain.gates.definitions import DEFAULT_MIN_VALUES, MAX_MIN_VALUES, MIN_MIN_VALUES, RATES
from service.domain.gates.metrics import MAX_CUSTOM_METRICS, STANDARD_METRICS

PAGE = Path(__file__).parents[2] / "service" / "guide" / "reference.md"
HEAD = """\
# Reference

<!-- Generated from the code: change the code, then run `make reference`. -->

For readers who look something up. The guide explains how to use it: [start page](../README.md). The running API serves the
complete list of operations at `/docs` and `/openapi.json`. [`deploy/README.md`](../../deploy/README.md#settings) lists all
settings, and [Roles](roles.md) the role that each call requires."""

OBVIOUS_FIELDS = {
    "name": "name of the rollout; its devices are chosen by a hash of this name.",
    "model": "the model.",
    "version": "label of the version to roll out.",
    "stages": "the stages, in order.",
    "stages[].cohort": "name of the cohort.",
    "stages[].advance_when": "requirements for advancing to the next stage.",
    "policy": "rules that apply to all stages.",
    "policy.windows.daily": "the windows; offers are made while any of them is open.",
    "policy.windows.daily[].start": "local time, `HH:MM`.",
    "policy.windows.daily[].end": "local time, `HH:MM`; the window is closed at this minute.",
    "policy.pacing": "limits on the download rate; absent for none.",
}
"""Path -> text of the fields that their classes do not describe."""

GATE_FIELDS = (
    ("`metric`", "all", "name of a rate, or of a metric that devices report."),
    ("`max`", "rates", "highest allowed rate, 0 to 1."),
    ("`max` or `min`", "metrics", "bound on the geometric mean, in the unit of the metric."),
    ("`against: control`", "metrics", "compare with the control arm instead of a fixed bound."),
    ("`max_increase` or `max_decrease`", "against control", "allowed change as a ratio: 0.1 for 10 %."),
    (
        "`min_values`",
        "metrics",
        f"values per arm that the gate needs, {MIN_MIN_VALUES:,} to {MAX_MIN_VALUES:,}; default {DEFAULT_MIN_VALUES}.",
    ),
)


def page():
    sections = (
        ("Poll reasons", reasons()),
        ("Rollout fields", rollout_fields()),
        ("Gates", gates()),
        ("Error codes", error_codes()),
        ("Commands", commands()),
    )
    return "\n\n".join([HEAD, *(f"## {title}\n\n{text}" for title, text in sections)]) + "\n"


def table(head, rows):
    return "\n".join([f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)])


def reasons():
    intro = "Every poll response has a `reason`. `graylag why DEVICE` shows the reason of the next poll, rollout by rollout."
    rows = [(f"`{code}`", text.meaning, text.remedy) for code, text in REASON_TEXTS.items()]
    return f"{intro}\n\n{table(('reason', 'meaning', 'what a release manager can do'), rows)}"


def rollout_fields():
    intro = (
        "The fields of a file for `graylag rollout create -f`, and of `POST /v1/admin/rollouts`. Templates have the same "
        "fields except `name`, `model`, `version` and `template`. A field without a default is required."
    )
    return f"{intro}\n\n{table(('field', 'default', 'meaning'), list(_fields(RolloutBody, '')))}"


def _fields(body, prefix):
    texts = _attribute_texts(body)
    for name, field in sorted(body.model_fields.items(), key=lambda item: not item[1].is_required()):
        path = f"{prefix}{name}"
        nested, is_list = _nested_body(field.annotation)
        text = _sentence(texts.get(name) or OBVIOUS_FIELDS[path])
        yield f"`{path}`", _default(field), text + _choices(field.annotation)
        if nested is not None:
            yield from _fields(nested, f"{path}[]." if is_list else f"{path}.")


def _nested_body(annotation):
    """(The body class inside an annotation or None, whether it is in a list)."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, False
    is_list = typing.get_origin(annotation) is list
    for argument in typing.get_args(annotation):
        nested, _ = _nested_body(argument)
        if nested is not None:
            return nested, is_list
    return None, False


def _choices(annotation):
    """A sentence with the allowed values of a `Literal`; empty for other types."""
    if typing.get_origin(annotation) is not typing.Literal:
        return ""
    return f" One of {', '.join(f'`{value}`' for value in typing.get_args(annotation))}."


def _default(field):
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return ""
    if default is None or isinstance(default, BaseModel | list):
        return "-"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _attribute_texts(body):
    """Field -> its text in the `Attributes` sections of the docstrings of a class and its bases."""
    texts: dict[str, str] = {}
    for owner in reversed(body.__mro__):
        name = ""
        for line in inspect.cleandoc(owner.__doc__ or "").partition("Attributes:\n")[2].splitlines():
            entry = re.match(r"    (\w+): (.*)", line)
            name, text = entry.groups() if entry else (name, f"{texts[name]} {line.strip()}")
            texts[name] = text
    return texts


def _sentence(text):
    return f"{text[0].upper()}{text[1:]}"


def gates():
    rates = [(f"`{name}`", " + ".join(f"`{outcome}`" for outcome in of)) for name, of in RATES.items()]
    standard = ", ".join(f"`{name}`" for name in STANDARD_METRICS)
    fields = [(name, gate, _sentence(text)) for name, gate, text in GATE_FIELDS]
    custom = (
        f"Standard metrics: {standard}. Devices may report up to {MAX_CUSTOM_METRICS} further metrics per model, and gates "
        "may name them once a device has reported them."
    )
    return "\n\n".join(
        [
            "A gate is an entry of `stages[].gates`. [Gates](gates.md) explains the statistics.",
            table(("field", "gates", "meaning"), fields),
            "A rate counts outcomes of attempts, divided by all attempts with a known outcome:",
            table(("rate", "outcomes that count"), rates),
            custom,
        ]
    )


def error_codes():
    intro = (
        "Every error is an RFC 9457 problem with a stable `code`. Errors that may succeed later have `retryable: true` and "
        "`retry_after_s`. A wrong method gives `method_not_allowed` (405)."
    )
    classes = sorted(
        (
            kind
            for kind in vars(errors).values()
            if inspect.isclass(kind) and issubclass(kind, errors.ServiceError)
        ),
        key=lambda kind: (kind.status, kind.code),
    )
    rows = [(f"`{kind.code}`", str(kind.status), kind.title, _meaning(kind)) for kind in classes]
    return f"{intro}\n\n{table(('code', 'status', 'title', 'meaning'), rows)}"


def _meaning(kind):
    if kind is errors.ServiceError:
        return "A fault of the server; its log has the details."
    return inspect.cleandoc(kind.__doc__).splitlines()[0]


def commands():
    intro = "`graylag COMMAND --help` lists the options. Commands that call the API read `GRAYLAG_URL` and `GRAYLAG_TOKEN`."
    rows = [(f"`graylag {path}`", text) for path, text in _commands(typer.main.get_command(build_app()), "")]
    return f"{intro}\n\n{table(('command', 'purpose'), rows)}"


def _commands(group, prefix):
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", (command.help or "").split("\n\n")[0].replace("|", "\\|")


def write():
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
