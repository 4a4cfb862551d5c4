import ast
import inspect
import io
import subprocess
import sys
import tokenize
from pathlib import Path

from sdk_contract import documents, envelope, formats, strict_json, validation, verification
from sdk_contract.vectors import load

MODULES = (strict_json, envelope, validation, formats, documents, verification)
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def test_verification_needs_only_the_standard_library_and_cryptography():
    root = Path(verification.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-I", root / "tests/sdk_contract/minimal_dependencies.py", root],
        capture_output=True,
        check=False,
        text=True,
    )
    all_passed = [f"{family} {len(load(family))}" for family in ("trust", "manifest", "directive")]
    assert (done.stdout.splitlines(), done.stderr) == (all_passed, "")


def test_verification_stays_small_enough_for_a_review():
    sources = [inspect.getsource(module) for module in MODULES]
    code, fields = sum(map(code_lines, sources)), sum(map(field_lines, sources))
    assert code - fields <= 400
    assert fields <= 80


def code_lines(source):
    """Number of lines with code: no blank lines, comments or docstrings."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def field_lines(source):
    """Number of lines that declare a field of a class."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    declarations = [entry for node in classes for entry in node.body if isinstance(entry, ast.AnnAssign)]
    return sum((entry.end_lineno or entry.lineno) - entry.lineno + 1 for entry in declarations)
