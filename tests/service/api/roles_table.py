"""The table of roles in `service/guide/roles.md`. `python -m tests.service.api.roles_table` updates it."""

import inspect
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.main import ROUTERS
from service.operations.platform.api_tokens import SCOPES

PAGE = Path(__file__).parents[3] / "service" / "guide" / "roles.md"
BEGIN, END = "<!-- roles: begin (python -m tests.service.api.roles_table) -->", "<!-- roles: end -->"
BASE = "/v1/admin"
WITHOUT_API_TOKEN = {f"{BASE}/oidc/exchange"}
"""Paths whose callers send another credential than an API token."""


def routes():
    """The admin routes that need an API token, as sorted (index of the lowest scope, path, method)."""
    return sorted(
        (_lowest_scope(route), route.path, method)
        for module in ROUTERS
        for route in module.router.routes
        if isinstance(route, APIRoute)
        and route.path.startswith(f"{BASE}/")
        and route.path not in WITHOUT_API_TOKEN
        for method in route.methods or ()
    )


def _lowest_scope(route):
    """The index in SCOPES of the lowest scope that may call a route."""
    for dependency in route.dependant.dependencies:
        scopes = inspect.getclosurevars(dependency.call).nonlocals.get("scopes")
        if scopes is not None:
            lowest = SCOPES.index(scopes[0])
            assert set(scopes) == set(SCOPES[lowest:]), f"{route.path} excludes a higher scope: {scopes}"
            return lowest
    raise AssertionError(f"{route.path} does not authenticate its caller")


def table():
    """The table in Markdown: one row per path and role."""
    rows: dict[tuple[int, str], list[str]] = {}
    for lowest, path, method in routes():
        rows.setdefault((lowest, path.removeprefix(BASE)), []).append(method)
    lines = [
        f"| `{SCOPES[lowest]}` | {' '.join(methods)} | `{path}` |" for (lowest, path), methods in rows.items()
    ]
    return "\n".join(["| lowest role | method | path, below `/v1/admin` |", "|---|---|---|", *lines])


def documented():
    """The table in the PAGE."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def update():
    """Write the table into the PAGE."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def admin_paths(app: FastAPI):
    """Every (path, method) of the admin API in the OpenAPI description."""
    return {
        (path, method.upper())
        for path, item in app.openapi()["paths"].items()
        for method in item
        if path.startswith(f"{BASE}/")
    }


if __name__ == "__main__":
    update()
