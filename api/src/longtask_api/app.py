"""The application that users talk to."""

import contextlib
from collections.abc import AsyncIterator
from importlib import metadata

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import APIRouter, Depends, FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

from longtask_api import auth, backend, dependencies, middleware, openapi, problems
from longtask_api.routes import docs, me, service, tasks, types

_DESCRIPTION = """Long-running tasks on Kubernetes: hand one over in one call, get its id at once,
see where it stands, and be told at a URL of yours when it is done."""


def create_app(behind: backend.Backend) -> FastAPI:
    """Build the application on the backend, which runs as long as the application does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with behind.running():
            yield

    app = openapi.Described(
        title="LongTask",
        version=metadata.version("longtask-api"),
        description=_DESCRIPTION,
        root_path=behind.settings.path_prefix,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.backend = behind
    # Everything here asks for the token: a new router is guarded because it is here.
    guarded = APIRouter(
        prefix="/api/v1",
        dependencies=[Depends(auth.require_token), Depends(dependencies.require_synced)],
        responses=openapi.problems(401, 422, 500, 503),
    )
    for module in (tasks, types, me):
        guarded.include_router(module.router)
    app.include_router(guarded)
    # And this is the whole public rest.
    app.include_router(service.router)
    app.include_router(docs.router)
    harden(app)
    Instrumentator(registry=behind.metrics.registry).instrument(app)
    app.add_middleware(CorrelationIdMiddleware)
    return app


def harden(app: FastAPI) -> None:
    """Put before the application what every port needs; what is added last comes first."""
    problems.install(app)
    app.add_middleware(middleware.LastResort)
    app.add_middleware(middleware.BodyLimit)
    app.add_middleware(middleware.SecurityHeaders)
