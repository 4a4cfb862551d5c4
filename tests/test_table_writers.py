"""Every table is written by exactly one module, as the docstring of `service.operations` says.

Found are `insert`, `update` and `delete` on a table class, `session.add` and `session.delete` of a row, new rows in a
relationship, and SQL text. Attributes of a row that was loaded for update may be assigned in any operation.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import service
from service.store import Table

ROOT = Path(service.__file__).parents[1]
PRODUCTION = (
    "service/api",
    "service/infrastructure",
    "service/operations",
    "service/serving",
    "service/store",
    "service/wiring",
    "workers",
)
"""Benchmarks and the simulator are left out, because they fill databases of their own."""
WRITTEN_BY_TRIGGERS = {"outcome_totals", "serving_epoch"}
INSERTED_BY_RELATIONSHIP = {"VariantRow", "ComponentRow", "StageRow"}

TABLES = {mapper.class_.__name__: str(mapper.local_table) for mapper in Table.registry.mappers}
SQL_WRITE = re.compile(
    r"\b(?:insert\s+into|delete\s+from|truncate|update(?=\s+\w+(?:\s+\w+)?\s+set\b))\s+([a-z_]+)"
)
STATEMENTS = {"insert", "update", "delete", "delete_from"}
SESSION_WRITES = {"session.add", "session.delete", "session.merge"}


def test_every_table_has_exactly_one_writing_module():
    writers = defaultdict(set)
    for package in PRODUCTION:
        for path in sorted((ROOT / package).rglob("*.py")):
            for table in tables_written(path):
                writers[table].add(path.relative_to(ROOT).as_posix())
    assert {table: modules for table, modules in writers.items() if len(modules) > 1} == {}
    assert set(TABLES.values()) - set(writers) == WRITTEN_BY_TRIGGERS


def test_the_store_writes_nothing():
    found = {path.name: tables_written(path) for path in (ROOT / "service/store").rglob("*.py")}
    assert not any(found.values()), found


def tables_written(path):
    """The tables that a module writes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    returned = STORE_RESULTS | row_results(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(SQL_WRITE.findall(node.value)) & set(TABLES.values())
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {TABLES[row] for row in rows_written(node, returned)}
    return found


def rows_written(function, returned):
    """The row classes that a function writes by statements, sessions and relationships."""
    rows = row_variables(function, returned)
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.rpartition(".")[2] in INSERTED_BY_RELATIONSHIP:
            yield name.rpartition(".")[2]
        elif (name in STATEMENTS and node.args) or name in SESSION_WRITES:
            row = row_of(node.args[0], rows, returned)
            assert row or name in STATEMENTS, f"{function.name}: the type of {ast.unparse(node)} is unknown"
            if row:
                yield row


def row_variables(function, returned):
    """Variable -> row class, from annotations of parameters and from assignments."""
    arguments = [*function.args.args, *function.args.kwonlyargs]
    rows = {a.arg: row for a in arguments if a.annotation and (row := row_name(a.annotation))}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.For) and (row := row_of(value_of(node), rows, returned)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            rows |= {target.id: row for target in targets if isinstance(target, ast.Name)}
    return rows


def value_of(node):
    return node.value if isinstance(node, ast.Assign) else node.iter


def row_of(value, rows, returned):
    """The row class of an expression: a variable, a table class, a new row, or the result of a function."""
    if isinstance(value, ast.Name) and value.id in rows:
        return rows[value.id]
    if isinstance(value, ast.Call):
        name = ast.unparse(value.func).rpartition(".")[2]
        return name if name in TABLES else returned.get(name)
    return row_name(value) if isinstance(value, ast.Attribute | ast.Name) else None


def row_name(node):
    """The row class that an annotation or an expression names."""
    found = [name for name in re.findall(r"\w+", ast.unparse(node)) if name in TABLES]
    return found[0] if found else None


def row_results(tree):
    """Function -> row class, for functions that return rows."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f.name: row for f in functions if f.returns and (row := row_name(f.returns))}


STORE_RESULTS = {
    name: row
    for path in (ROOT / "service/store").rglob("*.py")
    for name, row in row_results(ast.parse(path.read_text(encoding="utf-8"))).items()
}
