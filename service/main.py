"""The ASGI application of one API process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.api import health, problems
from service.api.device import routes as device
from service.api.device.description import describe_raw_routes
from service.api.fleet import cohorts, devices
from service.api.middleware.body_limit import BodyLimit
from service.api.middleware.fast_path import FastPathMiddleware
from service.api.platform import audit, config, jobs, oidc, tokens, trust, webhooks
from service.api.releases import models, patches, uploads, versions
from service.api.rollouts import gates, previews, rollouts, templates
from service.config import Settings
from service.infrastructure import signing
from service.infrastructure.clock import Clock, utc_now
from service.serving.admission.load_monitor import LoadMonitor
from service.wiring.authentication import build_access_tokens
from service.wiring.lifespan import running_process

ROUTERS = (
    health,
    device,
    oidc,
    models,
    versions,
    uploads,
    patches,
    cohorts,
    templates,
    previews,
    gates,
    rollouts,
    devices,
    webhooks,
    config,
    jobs,
    audit,
    tokens,
    trust,
)
"""Modules with a `router`, in the order of the API documentation."""


def create_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    """Create the ASGI application.

    Args:
        settings: the settings of the deployment.
        clock: returns the current time; simulations pass their own.

    Raises:
        KeyUnusable: the director key is missing or unusable.
        ServiceError: a required secret is missing.
    """
    director = signing.with_libsodium(signing.load_signer(settings.director_key, "director"))
    access_tokens, load_monitor = build_access_tokens(settings), LoadMonitor()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_process(
            settings, director=director, access_tokens=access_tokens, load_monitor=load_monitor, clock=clock
        ) as process:
            app.state.process = process
            yield

    app = FastAPI(
        title="Graylag",
        version="1",
        summary="Over-the-air updates for AI models on devices",
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        # Small devices omit the content type; the device routes parse their bodies themselves.
        strict_content_type=False,
        # FastAPI looks for a tracer in every request, which costs as much as parsing a poll.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.draining = False
    problems.install(app)
    describe_raw_routes(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(FastPathMiddleware, handlers=device.RAW_HANDLERS, load_monitor=load_monitor)
    for module in ROUTERS:
        app.include_router(module.router)
    return app


def _operation_id(route: APIRoute) -> str:
    """Use the handler's name, because SDK generators name their methods after it."""
    return route.name
