"""A client that asks Kubernetes, and what it reads piece by piece."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Self, TypeVar

from longtask_adapters.kube import errors as cluster_errors
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport, Transport
from longtask_client import client, errors, exchange, streaming
from longtask_client.cli.kubernetes import answers
from longtask_client.cli.kubernetes.desk import Desk

_T = TypeVar("_T")
Connect = Callable[[], contextlib.AbstractAsyncContextManager[Transport]]


class Cluster(client.Client):
    """A client that asks Kubernetes.

    Args:
        namespace: Where the tasks are.
        kubeconfig: The file that says where Kubernetes is; as kubectl finds it when absent.
        connect: Takes the place of the network, in tests.
    """

    def __init__(
        self, *, namespace: str, kubeconfig: Path | None = None, connect: Connect | None = None
    ) -> None:
        super().__init__(f"http://{answers.URL}")
        self._namespace = namespace
        self._loop = asyncio.new_event_loop()
        # What comes through it comes before the end, or not at all.
        self._door = threading.Lock()
        self._is_closed = False
        # A log is read in a thread of its own while another looks at the task.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = contextlib.AsyncExitStack()
        self._connect = connect or (lambda: KubernetesTransport.connect(kubeconfig=kubeconfig))
        self._desk: Desk | None = None
        self.conversations: set[_Conversation] = set()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        with self._door:
            self._is_closed = True
            end = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        end.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        # What was let go of in another thread meanwhile closes itself.
        self._loop.run_until_complete(asyncio.sleep(0))
        while left := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _end(self) -> None:
        # What Ctrl-C has interrupted still waits for its answer.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # In this order: what is being read needs the connection.
        for one in tuple(self.conversations):
            await one.end()
        await self._open.aclose()

    def wait_for(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of something that takes its time.

        Raises:
            CancelledError: The client was closed, here or in another thread.
        """
        with self._door:
            if self._is_closed:
                coroutine.close()
                raise CancelledError
            coming = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return coming.result()

    async def desk(self) -> "Desk":
        """Return who answers; it is connected when it is needed first."""
        if self._desk is None:
            transport = await self._open.enter_async_context(self._connect())
            connection = Connection(transport, user_agent="longtask-cli")
            self._desk = Desk(connection, self._namespace)
        return self._desk

    def _conversation(self) -> "_Conversation":
        return _Conversation(self)


class _Conversation:
    """Answers requests, and holds the log that is being read."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open = contextlib.AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None
        self._silence: float | None = None

    def __enter__(self) -> Self:
        self._cluster.conversations.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(CancelledError):  # then all was closed
            self._cluster.wait_for(self.end())

    async def end(self) -> None:
        """Read no more."""
        self._cluster.conversations.discard(self)
        await self._open.aclose()

    def send(self, asked: exchange.Request) -> exchange.Answer | errors.ConnectionFailed:
        return self._cluster.wait_for(self._send(asked))

    def read(self) -> bytes | errors.ConnectionFailed | None:
        return self._cluster.wait_for(self._read())

    async def _send(self, asked: exchange.Request) -> exchange.Answer | errors.ConnectionFailed:
        await self._open.aclose()
        self._silence = asked.timeout
        try:
            desk = await self._cluster.desk()
        except cluster_errors.ClusterError as error:
            return errors.ConnectionFailed(f"Kubernetes cannot be reached: {error}")
        try:
            found = await desk.answer(asked)
            if isinstance(found, exchange.Answer):
                self._pieces = _one_piece(found.content)
                return found
            self._pieces = await self._open.enter_async_context(found)
        except cluster_errors.ClusterError as error:
            return answers.refusal(error)
        is_of_events = asked.headers.get("Accept", "").startswith(streaming.MEDIA_TYPE)
        return answers.answer(200, {}, streaming.MEDIA_TYPE if is_of_events else "text/plain")

    async def _read(self) -> bytes | errors.ConnectionFailed | None:
        try:
            async with asyncio.timeout(self._silence):
                return None if self._pieces is None else await anext(self._pieces, None)
        except TimeoutError:
            return errors.ConnectionFailed("Nothing came for too long.")
        except cluster_errors.ClusterError as error:
            return errors.ConnectionFailed(f"What was read broke off: {error}")


async def _one_piece(content: bytes) -> AsyncIterator[bytes]:
    yield content
