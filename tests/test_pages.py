"""Every page of the documentation: links lead somewhere, and commands, settings and make targets exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from service.cli.main import build_app
from service.config import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (ROOT / name).is_file()
)
HISTORY = ROOT / "CHANGELOG.md"
"""It may name what no longer exists."""
OTHER_VARIABLES = {"GRAYLAG_KEY_PASSPHRASE", "GRAYLAG_URL", "GRAYLAG_TOKEN", "GRAYLAG_ENROLLMENT_TOKEN"}
CODE_PATH = re.compile(r"`((?:service|workers|sdk_contract|tests|migrations|deploy)/[\w./*-]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page):
    return page.read_text(encoding="utf-8")


def prose(page):
    """The page without code blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text_of(page)))


def anchors(page):
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def commands(page):
    """The arguments of each `graylag` command in the shell blocks; a quoted argument may have several lines."""
    for language, body in FENCE.findall(text_of(page)):
        joined = re.sub(r"\\\n\s*", "", body) if language == "sh" else ""
        for arguments in re.findall(r"^graylag ((?:'[^']*'|[^'\n])*)", joined, re.MULTILINE):
            yield shlex.split(arguments, comments=True)


SERVER_PAGES = [page for page in PAGES if page.relative_to(ROOT).parts[0] in ("deploy", "service", "workers")]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_relative_link_resolves(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_the_pages_show_commands():
    assert sum(len(list(commands(page))) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_exists_with_its_options(page):
    root = typer.main.get_command(build_app())
    for line in commands(page):
        words = list(line)
        command, context = root, typer.Context(root, info_name="graylag")
        while isinstance(command, TyperGroup):
            name, subcommand, words = command.resolve_command(context, words)
            assert subcommand is not None
            command = subcommand
            context = typer.Context(command, parent=context, info_name=name)
        command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize("page", SERVER_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_exists(page):
    known = {f"GRAYLAG_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    known |= {f"{name}_FILE" for name in known}
    named = set(re.findall(r"`(GRAYLAG_[A-Z0-9_]*[A-Z0-9])`", text_of(page)))
    assert named <= known


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != HISTORY], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text_of(page), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", [page for page in PAGES if CODE_PATH.search(text_of(page))], ids=str)
def test_every_path_in_backticks_exists(page):
    paths = {path for path in CODE_PATH.findall(text_of(page)) if not re.search(r"NAME|NNNN|\*", path)}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
