"""The two applications: the one that users talk to, and the one that running tasks report to."""

from importlib import metadata

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import APIRouter, Depends, FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

from longtask_api import dependencies, wiring
from longtask_api.http import middleware, openapi
from longtask_api.routes import (
    accounts,
    callbacks,
    docs,
    me,
    queues,
    reports,
    service,
    streams,
    tasks,
    types,
)
from longtask_crds import runner_contract

_DESCRIPTION = """Long-running tasks on Kubernetes: hand one over in one call, get its id at once,
see where it stands, and be told at a URL of yours when it is done."""


def for_users(services: wiring.Services, *, path_prefix: str = "") -> FastAPI:
    """Build the application that users talk to.

    Args:
        services: What it stands on; something else runs them.
        path_prefix: The path under which it is published.
    """
    app = openapi.Described(
        title="LongTask",
        version=metadata.version("longtask-api"),
        description=_DESCRIPTION,
        root_path=path_prefix,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    # Everything here asks for the token: a new router is guarded because it is here.
    guarded = APIRouter(
        prefix="/api/v1",
        dependencies=[Depends(dependencies.get_caller), Depends(dependencies.require_synced)],
        responses=openapi.problems(401, 422, 500, 503),
    )
    for router in (
        streams.router,
        tasks.router,
        callbacks.router,
        queues.router,
        types.router,
        me.router,
        accounts.for_admins,
    ):
        guarded.include_router(router)
    app.include_router(guarded)
    # What everybody may who is known, viewers too: it is about themselves.
    own = APIRouter(
        prefix="/api/v1",
        dependencies=[Depends(dependencies.get_known_caller)],
        responses=openapi.problems(401, 422, 500, 503),
    )
    own.include_router(accounts.own)
    app.include_router(own)
    # And this is the whole public rest.
    app.include_router(accounts.public, prefix="/api/v1")
    app.include_router(service.router)
    app.include_router(docs.router)
    middleware.harden(app)
    app.add_middleware(middleware.Versions)
    Instrumentator(registry=services.metrics.registry).instrument(app)
    app.add_middleware(CorrelationIdMiddleware)
    return app


def for_tasks(services: wiring.Services) -> FastAPI:
    """Build the application that running tasks report to."""
    app = FastAPI(title="LongTask runner port", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = services
    app.include_router(reports.router)
    middleware.harden(app, limits={runner_contract.RESULT_PATH: services.results.limit})
    return app
