"""The table of roles in `service/README.md`; `python -m tests.service.api.roles_table` writes it anew."""

import importlib
import inspect
import pkgutil
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from service import api
from service.operations.platform.api_tokens import SCOPES

README = Path(__file__).parents[3] / "service" / "README.md"
BEGIN, END = "<!-- roles: begin (python -m tests.service.api.roles_table) -->", "<!-- roles: end -->"
BASE = "/v1/admin"
OPEN = {f"{BASE}/oidc/exchange"}
"""Who comes here brings an identity token instead of an API token."""


def routes():
    """(method, path, least scope) of every route of the admin API that asks for an API token, in order."""
    return sorted(
        (_least(route), route.path, method)
        for module in _modules()
        for route in module.router.routes
        if isinstance(route, APIRoute) and route.path.startswith(f"{BASE}/") and route.path not in OPEN
        for method in route.methods
    )


def _components():
    """Whatever has a router."""
    found = [
        importlib.import_module(f"{api.__name__}.{one.name}") for one in pkgutil.iter_modules(api.__path__)
    ]
    return [module for module in found if hasattr(module, "router")]


def _least(route):
    """The first of the scopes that its dependency lets in; as a number, so that it can be sorted by."""
    for one in route.dependant.dependencies:
        scopes = inspect.getclosurevars(one.call).nonlocals.get("scopes")
        if scopes is not None:
            assert set(scopes) == set(SCOPES[SCOPES.index(scopes[0]) :]), f"{route.path} lets in {scopes}"
            return SCOPES.index(scopes[0])
    raise AssertionError(f"{route.path} does not ask who is calling")


def table():
    """One row for each path, by role."""
    rows = {}
    for least, path, method in routes():
        rows.setdefault((least, path.removeprefix(BASE)), []).append(method)
    lines = [
        f"| `{SCOPES[least]}` | {' '.join(methods)} | `{path}` |" for (least, path), methods in rows.items()
    ]
    return "\n".join(["| at least | | path, below `/v1/admin` |", "|---|---|---|", *lines])


def written():
    """The table as the page has it."""
    return README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write():
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def admin_paths(app: FastAPI):
    """Every (path, method) that the application documents below the admin API."""
    return {
        (path, method.upper())
        for path, item in app.openapi()["paths"].items()
        for method in item
        if path.startswith(f"{BASE}/")
    }


if __name__ == "__main__":
    write()
