"""OpenAPI description of the routes that the fast path serves, taken from the contract."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from sdk_contract.schemas import generate
from service.api.device.routes import RAW_HANDLERS


def describe_raw_routes(app: FastAPI) -> None:
    """Add the paths of `RAW_HANDLERS`, with their bodies, to the OpenAPI description of `app`."""
    describe_routes: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        description, contract = describe_routes(), generate.openapi()
        for path in RAW_HANDLERS:
            description["paths"].setdefault(path, contract["paths"][path])
        components = description["components"]
        components["schemas"] = contract["components"]["schemas"] | components["schemas"]
        components["securitySchemes"] = contract["components"]["securitySchemes"] | components.get(
            "securitySchemes", {}
        )
        return description

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation extends the description
