"""Rules for the tests themselves: expected errors are distinguished, and no test waits for a fixed time."""

import ast
import builtins
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sdk_contract", "service", "workers", "migrations")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_every_expected_error_of_ours_is_told_apart_by_its_message_or_fields():
    ours = own_exceptions()
    assert "ContractError" in ours
    assert "UserFacingError" in ours
    vague = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in TESTS
        for call in undistinguished_expectations(ast.parse(path.read_text(encoding="utf-8")))
        if ours & names(call.args[0])
    ]
    assert vague == [], "add `match=`, or `as caught` and check its code or fields"


def test_every_sleep_says_why_it_does_not_wait_for_a_condition():
    silent = []
    for path in TESTS:
        if path.name == "waiting.py":
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        silent += [
            f"{path.relative_to(ROOT)}:{call.lineno}"
            for call in ast.walk(ast.parse(text))
            if isinstance(call, ast.Call)
            and ast.unparse(call.func) in {"time.sleep", "asyncio.sleep"}
            and not lines[call.lineno - 2].lstrip().startswith("#")
        ]
    assert silent == [], "use `tests.waiting.wait_until`, or give the reason in a comment on the line above"


def own_exceptions():
    """Names of the exception classes of the packages."""
    classes = {
        node.name: set().union(*map(names, node.bases))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    standard = {
        name
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    found: set[str] = set()
    while new := {name for name, bases in classes.items() if bases & (standard | found)} - found:
        found |= new
    return found


def undistinguished_expectations(tree):
    """Calls of `pytest.raises` without `match=`, whose error gets no name either."""
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                call = item.context_expr
                if (
                    isinstance(call, ast.Call)
                    and ast.unparse(call.func) == "pytest.raises"
                    and item.optional_vars is None
                    and not any(keyword.arg == "match" for keyword in call.keywords)
                ):
                    yield call


def names(expression):
    """The names and attributes in an expression."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(expression)
        if isinstance(node, ast.Name | ast.Attribute)
    }
