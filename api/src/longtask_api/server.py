"""Three ports in one loop: for users, for running tasks, for metrics."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from longtask_api import app, backend, runner_port
from longtask_api.cluster import KubernetesCluster
from longtask_api.settings import Settings

log = logging.getLogger(__name__)

#: How long followed logs and long polls may still go on at the end.
_GRACE_SECONDS = 10


class _Server(uvicorn.Server):
    """One port. The signals are taken once, for all ports together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    async with KubernetesCluster.connect(
        kubeconfig=settings.kubeconfig,
        namespace=settings.namespace,
        secrets_namespace=settings.secrets_namespace,
    ) as cluster:
        behind = backend.Backend(cluster, settings)
        if behind.token is None:
            log.warning("Serving without a token: everybody is let in")
        servers = [
            _server(app.create_app(behind), settings.host, settings.public_port, lifespan=True),
            _server(runner_port.create_app(behind), settings.host, settings.runner_port),
            _server(behind.metrics.app(), settings.host, settings.metrics_port),
        ]
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, _stop, servers)
        log.info("Serving on ports %s", [server.config.port for server in servers])
        await asyncio.gather(*(server.serve() for server in servers))


def _server(application: ASGIApp, host: str, port: int, *, lifespan: bool = False) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            http="httptools",
            lifespan="on" if lifespan else "off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def _stop(servers: list[_Server]) -> None:
    for server in servers:
        server.should_exit = True
