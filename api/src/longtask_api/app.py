"""The two applications: the one that users talk to, and the one that running tasks report to."""

import functools
import logging
from collections.abc import Sequence
from importlib import metadata

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from longtask_adapters import tracing
from longtask_api import dependencies, wiring
from longtask_api.http import auditing, document, middleware, openapi, telling
from longtask_api.routes import (
    accounts,
    audit,
    callbacks,
    docs,
    me,
    notices,
    queues,
    reports,
    schedules,
    service,
    streams,
    subscriptions,
    tasks,
    types,
)
from longtask_api.ui import pages
from longtask_crds import runner_contract

#: What a page of another origin may send and read besides what every page may.
_HEADERS_OF_PAGES = [
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    *("If-Range", "Last-Event-ID", "LongTask-Version", "Prefer", "Range", "X-Request-ID"),
]
_HEADERS_FOR_PAGES = [
    *("Accept-Ranges", "Content-Range", "Deprecation", "ETag", "Link", "Location"),
    *("LongTask-Step", "LongTask-Version", "Preference-Applied", "Retry-After", "Sunset"),
    "X-Request-ID",
]

_DESCRIPTION = """Long-running tasks on Kubernetes: hand one over in one call, get its id at once,
see where it stands, and be told at a URL of yours when it is done."""


def for_users(
    services: wiring.Services,
    *,
    path_prefix: str = "",
    trusted_proxies: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
) -> FastAPI:
    """Build the application that users talk to.

    Args:
        services: What it stands on; something else runs them.
        path_prefix: The path under which it is published.
        trusted_proxies: Who is believed what they say in `X-Forwarded-For`.
        cors_origins: Whose pages may call it from browsers.
    """
    app = document.Described(
        title="LongTask",
        version=metadata.version("longtask-api"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.router.routes.extend(_routes().routes)
    middleware.harden(app, limits={tasks.BATCH_PATH: tasks.BATCH_LIMIT})
    app.add_middleware(middleware.Versions)
    app.add_middleware(auditing.Auditing, note=services.auditor.note)
    probes = service.PROBES
    app.add_middleware(middleware.KnownNames, is_known=services.browsers.answers_to, probes=probes)
    services.metrics.instrument(app)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[*cors_origins],
            allow_methods=["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"],
            allow_headers=_HEADERS_OF_PAGES,
            expose_headers=_HEADERS_FOR_PAGES,
        )
    app.add_middleware(telling.Telling, tracer=services.tracer)
    app.add_middleware(CorrelationIdMiddleware)
    app.add_middleware(middleware.Published, prefix=path_prefix)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[*trusted_proxies])
    return app


@functools.cache
def _routes() -> APIRouter:
    """Return what users may ask for: made once, for FastAPI takes long to look at all of it."""
    every = APIRouter()
    # Everything here asks for the token: a new router is guarded because it is here.
    guarded = APIRouter(
        prefix="/api/v1",
        dependencies=[
            Depends(dependencies.limit_address),
            Depends(dependencies.get_caller),
            Depends(dependencies.require_known_parameters),
            Depends(dependencies.require_synced),
        ],
        responses=openapi.problems(400, 401, 403, 422, 429, 500, 503),
    )
    for router in (
        streams.router,
        tasks.router,
        callbacks.router,
        queues.router,
        schedules.router,
        types.router,
        me.router,
        notices.router,
        accounts.for_admins,
        audit.router,
        subscriptions.router,
    ):
        guarded.include_router(router)
    every.include_router(guarded)
    # What everybody may who is known, viewers too: it is about themselves.
    own = APIRouter(
        prefix="/api/v1",
        dependencies=[
            Depends(dependencies.limit_address),
            Depends(dependencies.get_known_caller),
            Depends(dependencies.require_known_parameters),
        ],
        responses=openapi.problems(401, 422, 429, 500, 503),
    )
    own.include_router(accounts.own)
    own.include_router(notices.own)
    every.include_router(own)
    every.include_router(pages.for_callers)
    every.include_router(pages.own)
    # And this is the whole public rest.
    limited = [Depends(dependencies.limit_address)]
    every.include_router(accounts.public, prefix="/api/v1", dependencies=limited)
    every.include_router(notices.public, prefix="/api/v1", dependencies=limited)
    every.include_router(pages.public, dependencies=limited)
    every.include_router(service.router)
    every.include_router(docs.router)
    return every


def for_tasks(services: wiring.Services) -> FastAPI:
    """Build the application that running tasks report to."""
    app = FastAPI(title="LongTask runner port", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = services
    app.include_router(reports.router)
    middleware.harden(app, limits={runner_contract.RESULT_PATH: services.results.limit})
    # A program reports as often as it likes.
    quiet = logging.DEBUG
    app.add_middleware(telling.Telling, tracer=tracing.NoTracer(), level_of_changes=quiet)
    return app
