"""Generates the settings table in `deploy/README.md`; run `python -m tests.deploy.settings_table` to update it."""

import json
from pathlib import Path

from pydantic_core import PydanticUndefined

from service.config import Settings

README = Path(__file__).parents[2] / "deploy" / "README.md"
BEGIN, END = "<!-- settings: begin (python -m tests.deploy.settings_table) -->", "<!-- settings: end -->"


def variable(name):
    return f"{Settings.model_config['env_prefix']}{name.upper()}"


def table():
    rows = [
        f"| `{variable(name)}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | what it is for |", "|---|---|---|", *rows])


def written():
    """The table in the README."""
    return README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write():
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _default(field):
    value = getattr(field.default, "get_secret_value", lambda: field.default)()
    if value is None or value is PydanticUndefined:
        return "-"
    return f"`{json.dumps(value) if isinstance(value, bool | list | dict) else value}`"


if __name__ == "__main__":
    write()
