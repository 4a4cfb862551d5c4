"""Repository rules: no machine paths, no package registries, no undeclared top-level files."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
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


def test_no_file_names_a_package_registry():
    found = {
        str(path.relative_to(ROOT)): host
        for path, text in _texts()
        for host in REGISTRIES
        if host in text or INDEX_OPTIONS.search(text)
    }
    assert found == {}


def test_no_file_names_a_path_of_one_machine():
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path, text in _texts()
        if (match := MACHINE_PATHS.search(text))
    }
    assert found == {}


def _texts():
    """Yield every file of the repository with its text, without caches and tools' hidden folders."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = parts[0].startswith(".") and parts[0] not in (
            ".ci",
            ".importlinter",
            ".gitignore",
            ".editorconfig",
            ".pre-commit-config.yaml",
        )
        if hidden or SKIPPED & set(parts) or any(part.endswith(".egg-info") for part in parts):
            continue
        if path.is_file():
            yield path, path.read_bytes().decode("utf-8", errors="ignore")
