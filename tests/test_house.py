"""The architecture is a test: who may import whom, who may commit, and how long things may get."""

import ast
import re
import sys
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

from service.config import Settings
from service.jobs import ALL_QUEUES, HOUSEKEEPING, QUEUES
from workers.tasks.bells import HANDLERS

ROOT = Path(__file__).parents[1]
PACKAGES = ("sdk_contract", "service", "workers", "migrations")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAX_BODY_LINES = 60
MAX_FILE_LINES = 500

LIBRARY_HOMES = {
    "fastapi": r"service\.(main|api(\..+)?|console(\..+)?)",
    "starlette": r"service\.(main|api(\..+)?|console(\..+)?)",
    "celery": r"service\.jobs|workers\.app",
    "kombu": r"service\.jobs|workers\.app",
    "boto3": r"service\.blobs",
    "botocore": r"service\.blobs",
    "typer": r"service\.cli\..+|workers\.(processes|cli|commands\..+)|sdk_contract\.client\.cli",
    "alembic": r"migrations(\..+)?",
    "jwt": r"service\.tokens(\..*)?",
    "uvicorn": r"service\.cli\.(processes|reception)",
}
"""Library -> the modules that may know it; whoever wants to swap it has to look nowhere else."""

CONTRACT_LIBRARIES = {"pydantic", "cryptography", "zstandard", "numpy", "bsdiff4"}
DELTA_LIBRARIES = {"numpy", "zstandard", "bsdiff4"}

COMMITTERS = {"service/database.py", "service/serving/group_commit.py", "migrations/env.py"}
"""The cold path, the hot path, and Alembic's own connection."""

SKIPPED = {".git", ".venv", ".graylag", ".hypothesis", "__pycache__", "build", ".DS_Store"}
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("static", "crates", "io"),
        ("proxy", "golang", "org"),
        ("registry-1", "docker", "io"),
        ("ghcr", "io"),
    )
]
INDEX_OPTIONS = re.compile(r"^\s*(--index-url|--extra-index-url|-i|--find-links|-f)\s+\w+://", re.MULTILINE)
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:work|tmp|root|home|Users|private/var)\b")


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_every_import_contract_holds(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename=".importlinter", no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("library", LIBRARY_HOMES)
def test_a_library_is_known_in_its_homes_only(graph, library):
    if library not in graph.modules:
        pytest.fail(f"nobody imports {library}: take it off the list")
    strangers = {
        module
        for module in graph.find_modules_that_directly_import(library)
        if not re.fullmatch(LIBRARY_HOMES[library], module)
    }
    assert strangers == set()


def test_the_contract_needs_five_libraries_and_the_standard_library(graph):
    assert _libraries(graph, "sdk_contract") <= CONTRACT_LIBRARIES


def test_the_patch_engine_needs_three_libraries_and_the_standard_library(graph):
    assert _libraries(graph, "workers.delta") <= DELTA_LIBRARIES


def test_domain_needs_the_standard_library_and_the_contract_only(graph):
    assert _libraries(graph, "service.domain") == set()


def test_commits_happen_in_one_place_of_the_cold_path_and_one_of_the_hot_path():
    committing = {path.relative_to(ROOT).as_posix() for path in SOURCES if _commits(_tree(path))}
    assert committing <= COMMITTERS


def test_every_kind_of_job_has_a_handler_and_every_handler_a_kind():
    assert set(HANDLERS) == set(QUEUES)


def test_every_queue_is_one_that_a_worker_listens_to_by_default():
    assert set(ALL_QUEUES) == {*QUEUES.values(), HOUSEKEEPING}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_for(name):
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_imports_stand_at_the_top():
    late = [
        f"{path.relative_to(ROOT)}:{node.lineno} in {function.name}"
        for path in SOURCES
        for function in _functions(_tree(path))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_no_function_body_is_longer_than_a_screen():
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name} has {_body_lines(function)} lines"
        for path in SOURCES
        if path.parent.name != "versions"
        for function in _functions(_tree(path))
        if _body_lines(function) > MAX_BODY_LINES
    ]
    assert long == []


def test_no_file_is_too_long_to_be_read_in_one_go():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in [*SOURCES, *TESTS]}
    long = [
        f"{path.relative_to(ROOT)} has {length} lines"
        for path, length in lengths.items()
        if length > MAX_FILE_LINES and path.parent.name != "versions"
    ]
    assert long == []


def test_no_source_puts_work_off():
    needle = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    found = [str(path.relative_to(ROOT)) for path in [*SOURCES, *TESTS] if needle.search(path.read_text())]
    assert found == []


def test_every_exception_from_a_check_names_its_code_and_its_reason():
    bare = re.compile(r"#\s*(?:noqa(?!:\s*[A-Z]+\d+.*\s[-#]\s)|type:\s*ignore(?!\[[\w,-]+\]\s+#))")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


def test_nothing_is_called_utils_or_manager_or_common():
    names = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES}
    assert not {name for name in names if re.fullmatch(r"utils?|helpers?|common|misc|.*manager", name)}


def test_the_house_has_the_rooms_that_its_owner_gave_it():
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    rooms = {room for room in rooms if not room.endswith(".egg-info")} - {"build"}
    assert rooms == {"sdk_contract", "service", "workers", "migrations", "tests", "deploy"}


def test_no_file_names_the_address_of_a_package_registry():
    found = {
        str(path.relative_to(ROOT)): host
        for path, text in _texts()
        for host in REGISTRIES
        if host in text or INDEX_OPTIONS.search(text)
    }
    assert found == {}


def test_no_file_names_a_directory_of_somebodys_machine():
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path, text in _texts()
        if (match := MACHINE_PATHS.search(text))
    }
    assert found == {}


def _texts():
    """Every file of ours that is text; hidden directories of tools and their caches are not ours."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = parts[0].startswith(".") and parts[0] not in (".ci", ".importlinter", ".gitignore")
        if hidden or SKIPPED & set(parts) or any(part.endswith(".egg-info") for part in parts):
            continue
        if path.is_file():
            yield path, path.read_bytes().decode("utf-8", errors="ignore")


def _libraries(graph, package):
    """Distributions that the package imports directly, ours and the standard library's taken off."""
    modules = {package} | graph.find_descendants(package)
    imported = {
        found.split(".")[0] for module in modules for found in graph.find_modules_directly_imported_by(module)
    }
    return imported - set(PACKAGES) - sys.stdlib_module_names


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _body_lines(function):
    """Lines of the body, its docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def _commits(tree):
    """Whether the file holds connections or sessions and ends their transactions itself."""
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
    }
    connected = any(name and re.match(r"sqlalchemy|(service\.)?database$", name) for name in imported)
    return connected and any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "begin")
        for node in ast.walk(tree)
    )
