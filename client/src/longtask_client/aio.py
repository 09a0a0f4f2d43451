"""The same client for asyncio.

async with AsyncClient("https://longtask.example.com", token="…") as client:
    task = await client.submit(models.TaskOrder(type="fibonacci", input={"n": 100}))
    print((await task.wait()).phase, await task.fetch_result())
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx
from pydantic import PrivateAttr

from longtask_client import calls, errors, exchange, models, sending

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _once(
    function: Callable[_P, exchange.Call[_T] | exchange.Flow[_T]],
) -> Callable[Concatenate["AsyncClient", _P], Coroutine[Any, Any, _T]]:
    """Return a method that asks, and returns what comes of it."""

    async def method(self: "AsyncClient", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.run(function(*args, **kwargs))

    return sending.like(function, method)


def _one_by_one(
    function: Callable[_P, exchange.Stream[_T]],
) -> Callable[Concatenate["AsyncClient", _P], AsyncIterator[_T]]:
    """Return a method that yields what comes, as it comes."""

    def method(self: "AsyncClient", /, *args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[_T]:
        return self.iterate(function(*args, **kwargs))

    return sending.like(function, method)


def _task(
    function: Callable[_P, exchange.Call[models.TaskView] | exchange.Flow[models.TaskView]],
) -> Callable[Concatenate["AsyncClient", _P], Coroutine[Any, Any, "AsyncTaskHandle"]]:
    """Return a method that returns a task that can be asked on."""

    async def method(
        self: "AsyncClient", /, *args: _P.args, **kwargs: _P.kwargs
    ) -> "AsyncTaskHandle":
        return AsyncTaskHandle.of(await self.run(function(*args, **kwargs)), self)

    return sending.like(function, method)


class AsyncClient:
    """One connection to one LongTask, for asyncio.

    Args:
        url: Where the API is; it may have a path.
        token: The bearer token; None for an API that asks for none.
        transport: Takes the place of the network, in tests.
        sleep: Takes the place of `asyncio.sleep`, in tests.
        clock: Takes the place of `time.monotonic`, in tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers=sending.headers(token), transport=transport
        )
        self._sleep = sleep
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    submit = _task(calls.tasks.submit)
    submit_many = _once(calls.tasks.submit_many)
    get = _task(calls.tasks.get)
    state = _once(calls.tasks.state)
    page = _once(calls.tasks.page)
    tasks = _one_by_one(calls.tasks.tasks)
    wait = _task(calls.tasks.wait)
    watch = _one_by_one(calls.following.watch)
    follow = _one_by_one(calls.following.follow)
    follow_all = _one_by_one(calls.following.follow_all)
    changes = _one_by_one(calls.following.changes)
    cancel = _task(calls.tasks.cancel)
    cancel_many = _one_by_one(calls.tasks.cancel_many)
    retry = _task(calls.tasks.retry)
    set_priority = _task(calls.tasks.set_priority)
    delete = _once(calls.tasks.delete)

    events = _one_by_one(calls.events.events)
    events_of = _one_by_one(calls.events.events_of)

    result = _once(calls.contents.result)
    result_content = _one_by_one(calls.contents.result_content)
    logs = _one_by_one(calls.contents.logs)

    callbacks = _once(calls.callbacks.callbacks)
    redeliver = _once(calls.callbacks.redeliver)
    redeliver_all = _one_by_one(calls.callbacks.redeliver_all)
    test_callback = _once(calls.callbacks.test_callback)
    callback_key = _once(calls.callbacks.callback_key)
    rotate_callback_key = _once(calls.callbacks.rotate_callback_key)

    queues = _once(calls.queues.queues)
    queue = _once(calls.queues.queue)
    pause_queue = _once(calls.queues.pause_queue)
    resume_queue = _once(calls.queues.resume_queue)

    create_schedule = _once(calls.schedules.create_schedule)
    schedules = _one_by_one(calls.schedules.schedules)
    schedule = _once(calls.schedules.schedule)
    change_schedule = _once(calls.schedules.change_schedule)
    pause_schedule = _once(calls.schedules.pause_schedule)
    resume_schedule = _once(calls.schedules.resume_schedule)
    trigger_schedule = _once(calls.schedules.trigger_schedule)
    wait_for_run = _task(calls.schedules.wait_for_run)
    reset_schedule = _once(calls.schedules.reset_schedule)
    backfill_schedule = _once(calls.schedules.backfill_schedule)
    schedule_runs = _one_by_one(calls.schedules.schedule_runs)
    schedule_status = _once(calls.schedules.schedule_status)
    schedule_data = _one_by_one(calls.schedules.schedule_data)
    delete_schedule = _once(calls.schedules.delete_schedule)

    notices = _one_by_one(calls.notices.notices)
    notice_wish = _once(calls.notices.notice_wish)
    set_notice_wish = _once(calls.notices.set_notice_wish)
    verify_email = _once(calls.notices.verify_email)
    confirm_email = _once(calls.notices.confirm_email)

    types = _once(calls.service.types)
    type = _once(calls.service.type_)
    version = _once(calls.service.version)

    register = _once(calls.accounts.register)
    login = _once(calls.accounts.login)
    logout = _once(calls.accounts.logout)
    me = _once(calls.accounts.me)
    change_password = _once(calls.accounts.change_password)
    tokens = _once(calls.accounts.tokens)
    create_token = _once(calls.accounts.create_token)
    revoke_token = _once(calls.accounts.revoke_token)

    users = _one_by_one(calls.accounts.users)
    user = _once(calls.accounts.user)
    create_user = _once(calls.accounts.create_user)
    change_user = _once(calls.accounts.change_user)
    delete_user = _once(calls.accounts.delete_user)
    reset_password = _once(calls.accounts.reset_password)
    invites = _once(calls.accounts.invites)
    create_invite = _once(calls.accounts.create_invite)
    delete_invite = _once(calls.accounts.delete_invite)

    audit = _one_by_one(calls.audit.audit)

    subscribe = _once(calls.subscriptions.subscribe)
    subscriptions = _one_by_one(calls.subscriptions.subscriptions)
    subscription = _once(calls.subscriptions.subscription)
    change_subscription = _once(calls.subscriptions.change_subscription)
    unsubscribe = _once(calls.subscriptions.unsubscribe)
    deliveries = _one_by_one(calls.subscriptions.deliveries)
    redeliver_to = _once(calls.subscriptions.redeliver_to)

    async def run(self, asked: exchange.Call[_T] | exchange.Flow[_T]) -> _T:
        """Ask what a call says, or go through a flow; return what comes of it."""
        flow = asked.flow() if isinstance(asked, exchange.Call) else asked
        course: exchange.Course[_T] = exchange.Course(flow)
        async for _ in self._walk(course):
            raise TypeError("a stream is iterated")
        value: _T = course.value
        return value

    def iterate(self, stream: exchange.Stream[_T]) -> AsyncIterator[_T]:
        """Go through a stream; yield what it gives."""
        return self._walk(exchange.Course(stream))

    async def _walk(self, course: exchange.Course[_T]) -> AsyncIterator[_T]:
        async with _Conversation(self._http) as conversation:
            step = course.next()
            while step is not None:
                told: object = None
                match step:
                    case exchange.Give(value):
                        yield value
                    case exchange.Sleep(seconds):
                        await self._sleep(seconds)
                    case exchange.Clock():
                        told = self._clock()
                    case exchange.Send(request):
                        told = await conversation.send(request)
                    case exchange.Read():
                        told = await conversation.read()
                step = course.next(told)


class _OfTask:
    """What can be asked of a task; pydantic would take it for fields."""

    refresh = sending.of_task(AsyncClient.get)
    wait = sending.of_task(AsyncClient.wait)
    watch = sending.of_task(AsyncClient.watch)
    follow = sending.of_task(AsyncClient.follow)
    fetch_result = sending.of_task(AsyncClient.result)
    result_content = sending.of_task(AsyncClient.result_content)
    logs = sending.of_task(AsyncClient.logs)
    cancel = sending.of_task(AsyncClient.cancel)
    retry = sending.of_task(AsyncClient.retry)
    delete = sending.of_task(AsyncClient.delete)


class AsyncTaskHandle(_OfTask, models.TaskView):
    """A task as it stood when it was asked for, and what can be asked of it since."""

    _client: AsyncClient = PrivateAttr()

    @classmethod
    def of(cls, task: models.TaskView, client: AsyncClient) -> "AsyncTaskHandle":
        """Return a task that this client can be asked for."""
        handle = cls.model_validate(task, from_attributes=True)
        handle._client = client
        return handle


class _Conversation:
    """The answer that is being read, if there is one."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def send(self, asked: exchange.Request) -> exchange.Answer | errors.ConnectionFailed:
        await self._close()
        request = sending.built(self._http, asked)
        try:
            response = await self._http.send(request, stream=asked.is_stream)
            if asked.is_stream and response.is_success:
                self._response, self._pieces = response, response.aiter_bytes()
            else:
                await response.aread()
                await response.aclose()
        except httpx.HTTPError as error:
            return sending.unreachable(error)
        return sending.answer(self._http, response)

    async def read(self) -> bytes | errors.ConnectionFailed | None:
        try:
            return None if self._pieces is None else await anext(self._pieces, None)
        except httpx.HTTPError as error:
            return sending.unreachable(error)

    async def _close(self) -> None:
        if self._response is not None:
            await self._response.aclose()
        self._response = self._pieces = None
