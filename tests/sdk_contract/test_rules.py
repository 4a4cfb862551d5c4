import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

from sdk_contract import documents, envelope, fields, rules, strict_json
from sdk_contract.vectors import load

VERIFICATION = (strict_json, envelope, fields, documents, rules)
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def test_verification_needs_nothing_but_python_and_cryptography():
    root = Path(rules.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-I", root / "tests/sdk_contract/bare.py", root],
        capture_output=True,
        check=False,
        text=True,
    )
    played = [f"{family} {len(load(family))}" for family in ("trust", "manifest", "directive")]
    assert (done.stdout.splitlines(), done.stderr) == (played, "")


def test_verification_is_400_lines_of_code_and_the_fields_of_four_documents():
    sources = [Path(module.__file__).read_text() for module in VERIFICATION]
    code, declared = sum(map(code_lines, sources)), sum(map(declarations, sources))
    assert code - declared <= 400
    assert declared <= 80


def code_lines(source):
    """How many lines hold code: no blanks, comments or docstrings."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            found |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found -= set(range(node.lineno, node.end_lineno + 1))
    return len(found)


def declarations(source):
    """How many of them declare a field of a class."""
    kinds = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    entries = [entry for kind in kinds for entry in kind.body if isinstance(entry, ast.AnnAssign)]
    return sum(entry.end_lineno - entry.lineno + 1 for entry in entries)
