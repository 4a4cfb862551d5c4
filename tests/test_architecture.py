"""Architecture rules: which module imports which, which module may commit, how long files and functions may be."""

import ast
import re
import sys
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

from service.config import Settings
from service.infrastructure.jobs import ALL_QUEUES, HOUSEKEEPING, QUEUES
from workers.tasks.dispatch import HANDLERS

ROOT = Path(__file__).parents[1]
PACKAGES = ("sdk_contract", "service", "workers", "migrations")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAX_BODY_LINES = 40
MAX_FILE_LINES = 300
MAX_FOLDER_ENTRIES = 15

LIBRARY_HOMES = {
    "fastapi": r"service\.(main|api(\..+)?)",
    "starlette": r"service\.(main|api(\..+)?)",
    "celery": r"service\.infrastructure\.jobs|workers\.app",
    "kombu": r"service\.infrastructure\.jobs|workers\.app",
    "boto3": r"service\.infrastructure\.blobs(\..+)?",
    "botocore": r"service\.infrastructure\.blobs(\..+)?",
    "typer": r"service\.(cli|benchmarks|simulator|demo)\..+|workers\.cli\..+|sdk_contract\.client\.cli",
    "alembic": r"migrations(\..+)?",
    "jwt": r"service\.infrastructure\.tokens(\..*)?",
    "uvicorn": r"service\.cli\..+",
}
"""Library -> pattern of the modules that may import it. Replacing a library touches these modules only."""

CONTRACT_LIBRARIES = {"pydantic", "cryptography", "zstandard", "numpy", "bsdiff4"}
DELTA_LIBRARIES = {"numpy", "zstandard", "bsdiff4"}

CAPITALIZED_WORDS_OF_ERRORS = {"JSON", "POST", "URL"}
"""Names and acronyms that an error message may begin with, besides the settings GRAYLAG_*."""

COMMITTERS = {
    "service/infrastructure/database.py",
    "service/serving/batching/write_batcher.py",
    "migrations/env.py",
}
"""The modules that end transactions: the cold path, the hot path, and Alembic's own connection."""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_every_import_contract_holds(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename=".importlinter", no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("library", LIBRARY_HOMES)
def test_a_library_is_imported_only_where_the_list_allows_it(graph, library):
    if library not in graph.modules:
        pytest.fail(f"no module imports {library}: remove it from LIBRARY_HOMES")
    importers = {
        module
        for module in graph.find_modules_that_directly_import(library)
        if not re.fullmatch(LIBRARY_HOMES[library], module)
    }
    assert importers == set()


def test_the_contract_imports_five_libraries_besides_the_standard_library(graph):
    assert _libraries(graph, "sdk_contract") <= CONTRACT_LIBRARIES


def test_the_patch_engine_imports_three_libraries_besides_the_standard_library(graph):
    assert _libraries(graph, "workers.delta") <= DELTA_LIBRARIES


def test_the_domain_imports_only_the_standard_library_and_the_contract(graph):
    assert _libraries(graph, "service.domain") == set()


def test_only_the_listed_modules_commit():
    committing = {path.relative_to(ROOT).as_posix() for path in SOURCES if _commits(_tree(path))}
    assert committing <= COMMITTERS


def test_every_job_kind_has_a_handler_and_every_handler_a_kind():
    assert set(HANDLERS) == set(QUEUES)


def test_a_worker_consumes_every_queue_by_default():
    assert set(ALL_QUEUES) == {*QUEUES.values(), HOUSEKEEPING}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description(name):
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_no_function_imports_a_module():
    late = [
        f"{path.relative_to(ROOT)}:{node.lineno} in {function.name}"
        for path in SOURCES
        for function in _functions(_tree(path))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_no_function_body_exceeds_40_lines():
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name} has {_body_lines(function)} lines"
        for path in [*SOURCES, *TESTS]
        if path.parent.name != "versions"
        for function in _functions(_tree(path))
        if _body_lines(function) > MAX_BODY_LINES
    ]
    assert long == []


def test_no_file_exceeds_300_lines():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in [*SOURCES, *TESTS]}
    long = [
        f"{path.relative_to(ROOT)} has {length} lines"
        for path, length in lengths.items()
        if length > MAX_FILE_LINES and path.parent.name != "versions"
    ]
    assert long == []


def test_every_error_message_is_a_lower_case_clause_without_a_final_period():
    found = [
        f"{path.relative_to(ROOT)}:{line} {message}"
        for path in SOURCES
        for line, message in _error_messages(_tree(path))
        if _is_sentence(message)
    ]
    assert found == []


def test_no_source_has_an_unfinished_work_marker():
    needle = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    found = [str(path.relative_to(ROOT)) for path in [*SOURCES, *TESTS] if needle.search(path.read_text())]
    assert found == []


def test_every_suppressed_check_names_its_code_and_reason():
    bare = re.compile(r"#\s*(?:noqa(?!:\s*[A-Z]+\d+.*\s[-#]\s)|type:\s*ignore(?!\[[\w,-]+\]\s+#))")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


def test_no_module_is_called_utils_manager_or_common():
    names = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES}
    assert not {name for name in names if re.fullmatch(r"utils?|helpers?|common|misc|.*manager", name)}


def test_no_folder_of_modules_has_more_than_15_entries():
    folders = {path.parent for path in SOURCES}
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if (count := sum(1 for entry in folder.iterdir() if _is_module(entry))) > MAX_FOLDER_ENTRIES
    }
    assert crowded == {}


def test_the_top_level_has_exactly_these_folders():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    folders = {folder for folder in folders if not folder.endswith(".egg-info")} - {"build"}
    assert folders == {"sdk_contract", "service", "workers", "migrations", "tests", "deploy"}


def _libraries(graph, package):
    """Libraries that the package imports directly, without our packages and the standard library."""
    modules = {package} | graph.find_descendants(package)
    imported = {
        found.split(".")[0] for module in modules for found in graph.find_modules_directly_imported_by(module)
    }
    return imported - set(PACKAGES) - sys.stdlib_module_names


def _is_module(path):
    return (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _error_messages(tree):
    """Line and first argument of each raised or rendered error; `{}` stands for a value in an f-string."""
    errors = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    errors += [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "render" and node.args
    ]
    for error in errors:
        message = error.args[0] if isinstance(error, ast.Call) and error.args else None
        if isinstance(message, ast.Constant) and isinstance(message.value, str):
            yield message.lineno, message.value
        elif isinstance(message, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in message.values)
            yield message.lineno, "".join(parts)


def _is_sentence(message):
    first_word = re.split(r"\W", message)[0]
    is_name = first_word.startswith("GRAYLAG_") or first_word in CAPITALIZED_WORDS_OF_ERRORS
    return message.endswith(".") or ". " in message or (message[:1].isupper() and not is_name)


def _functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _body_lines(function):
    """Number of lines of the body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def _commits(tree):
    """Return whether a file that uses sessions or connections calls `commit` or `begin` itself."""
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
    }
    connected = any(
        name and re.match(r"sqlalchemy|(service\.infrastructure\.)?database$", name) for name in imported
    )
    return connected and any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "begin")
        for node in ast.walk(tree)
    )
