"""Who we are to the API server, and where that is: a pod's own account, or what a kubeconfig says.

In a pod four small files say it all. The library that reads kubeconfigs takes 21 MB of memory, and
is imported only where there is one.
"""

import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from longtask_adapters.kube import errors

#: Where Kubernetes puts the account of a pod.
POD_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: A projected token is replaced long before it ends; so often it is read again, in seconds.
_TOKEN_AGE = 60.0

Headers = dict[str, str]


class Account:
    """Where the API server is, how to trust it, and what it is shown."""

    def __init__(
        self,
        host: str,
        tls: ssl.SSLContext | bool,
        authorization: Callable[[], Awaitable[Headers]],
    ) -> None:
        self.host = host
        self.tls = tls
        self.authorization = authorization  #: returns the headers that say who asks

    @classmethod
    @contextlib.asynccontextmanager
    async def find(
        cls, kubeconfig: Path | None = None, *, folder: Path = POD_ACCOUNT
    ) -> "AsyncIterator[Account]":
        """Find the account to use.

        Args:
            kubeconfig: The file that says it; without one the pod's own account is used, or outside
                of a cluster what kubectl would use.
            folder: Where a pod has its account.

        Raises:
            ClusterError: Nothing says where an API server is.
        """
        if kubeconfig is None and (folder / "token").exists():
            yield _of_pod(folder)
        else:
            async with _of_kubeconfig(kubeconfig) as account:
                yield account


def _of_pod(folder: Path) -> Account:
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    except KeyError as error:
        raise errors.ClusterError(f"Nothing says where the cluster is: no {error}") from error
    if ":" in host:
        host = f"[{host}]"
    tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    return Account(f"https://{host}:{port}", tls, _Token(folder / "token"))


class _Token:
    """A token in a file that is replaced from time to time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._headers: Headers = {}
        self._read_at = float("-inf")

    async def __call__(self) -> Headers:
        if time.monotonic() - self._read_at > _TOKEN_AGE:
            token = self._file.read_text().strip()
            self._headers = {"Authorization": f"Bearer {token}"}
            self._read_at = time.monotonic()
        return self._headers


@contextlib.asynccontextmanager
async def _of_kubeconfig(file: Path | None) -> AsyncIterator[Account]:
    # Here, and not on top: see the module's first words.
    from kubernetes.aio import client, config

    kubernetes_config: Any = config  # it carries no types
    configuration = client.Configuration()
    try:
        await kubernetes_config.load_kube_config(
            config_file=None if file is None else str(file), client_configuration=configuration
        )
    except config.ConfigException as error:
        raise errors.ClusterError(f"Nothing says where the cluster is: {error}") from error

    async def authorization() -> Headers:
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": token} if token else {}

    # It has read certificates, inline ones too, into a context of its own.
    async with client.ApiClient(configuration) as api:
        yield Account(configuration.host, api.rest_client.ssl_context, authorization)
