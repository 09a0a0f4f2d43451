"""Three ports in one loop: for users, for running tasks, for metrics."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from longtask_adapters import garbage, tracing
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_api import app, wiring
from longtask_api.http.connections import Bounds, bounded
from longtask_api.hub import Hub
from longtask_api.services.tasks.logs import MOST_OPEN
from longtask_api.settings import Settings

_logger = logging.getLogger(__name__)

#: How long followed logs and long polls may still go on at the end.
_GRACE_SECONDS = 10
#: Longer than the 60 s of usual ingresses: whoever closes an idle connection, it must not be us, or
#: a request that is on its way meets a closed one.
_KEEP_ALIVE_SECONDS = 75
#: However many logs are open, the watches and all other calls have theirs.
_CONNECTIONS_TO_KUBERNETES = MOST_OPEN + 200
#: Users come by an ingress, which counts for itself; most of them from its one address.
_OF_USERS = Bounds()
#: Whatever a program of somebody's does in its pod, the others' reports are taken. One connection
#: has a pod that behaves; the operator has a hundred.
_OF_TASKS = Bounds(connections=2000, of_address=200)


class _Server(uvicorn.Server):
    """One port. The signals are taken once, for all ports together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    if settings.insecure and settings.token_file is None:
        _logger.warning("Serving without a token: everybody is let in")
    async with (
        KubernetesTransport.connect(
            kubeconfig=settings.kubeconfig, pool_size=_CONNECTIONS_TO_KUBERNETES
        ) as transport,
        _tracer(settings) as tracer,
        wiring.running(transport, settings, tracer=tracer) as services,
    ):
        users = app.for_users(
            services,
            path_prefix=settings.path_prefix,
            trusted_proxies=settings.trusted_proxies,
            cors_origins=settings.cors_origins,
        )
        servers = [
            _server(users, settings.host, settings.public_port, _OF_USERS),
            _server(app.for_tasks(services), settings.host, settings.runner_port, _OF_TASKS),
            _server(services.metrics.app(), settings.host, settings.metrics_port, _OF_USERS),
        ]
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, _stop, servers, services.hub)
        garbage.keep_what_is_there()
        _logger.info("Serving", extra={"ports": [server.config.port for server in servers]})
        await asyncio.gather(*(server.serve() for server in servers))


@contextlib.asynccontextmanager
async def _tracer(settings: Settings) -> AsyncIterator[tracing.Tracer]:
    tracer = tracing.tracer_of("longtask-api", settings.otlp_endpoint)
    try:
        yield tracer
    finally:
        await asyncio.to_thread(tracer.close)


def _server(application: ASGIApp, host: str, port: int, bounds: Bounds) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            http=bounded(bounds),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # It would believe whoever is on this host; `app.for_users` is told whom to believe.
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def _stop(servers: list[_Server], hub: Hub) -> None:
    # Streams would go on for the whole grace, and then be cut.
    hub.close()
    for server in servers:
        server.should_exit = True
