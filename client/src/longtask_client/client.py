"""A typed client of LongTask's REST API. The one module that knows httpx.

with Client("https://longtask.example.com", token="…") as client:
    task = client.submit(models.TaskOrder(type="fibonacci", input={"n": 100}))
    print(client.wait(task.id).phase, client.result(task.id))
"""

import json
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import EventSource
from pydantic import BaseModel, ValidationError

from longtask_client import errors, models, streaming
from longtask_crds import names, v1alpha1

_Model = TypeVar("_Model", bound=BaseModel)
_Method = Literal["GET", "POST", "PATCH", "DELETE"]

#: How long a call tries again while nobody answers or the API, which asks for 5 s a time, is away.
PATIENCE = 30.0
#: The same while it waits for a task, which may take longer than a restart of the API.
WAITING_PATIENCE = 60.0

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_LONG_POLL = 30
_PROBLEM = "application/problem+json"
#: Answers that say "not now"; proxies give them too, without a problem's body.
_NOT_NOW = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE = 5.0
#: Whatever a result is; compressed, its bytes would have other places.
_AS_IT_IS = {"Accept": f"*/*, {_PROBLEM}", "Accept-Encoding": "identity"}
_EVERY = models.TaskFilter()
#: Before `wait` asks again after an answer that should have taken longer.
_SHORTEST_WAIT = 0.25


class Client:
    """One connection to one LongTask.

    Args:
        url: Where the API is; it may have a path.
        token: The bearer token; None for an API that asks for none.
        transport: Takes the place of the network, in tests.
        sleep: Takes the place of `time.sleep`, in tests.
        clock: Takes the place of `time.monotonic`, in tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {"User-Agent": "longtask-client", "Accept": f"application/json, {_PROBLEM}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=_TIMEOUT, transport=transport
        )
        self._sleep = sleep
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # Tasks

    def submit(
        self, order: models.TaskOrder, *, idempotency_key: str | None = None
    ) -> models.TaskView:
        """Hand over a task; it is stored when this returns.

        Without a key one is made up, so that a broken connection may be tried again: the task is
        made once.

        Raises:
            InvalidRequest: The order is wrong; nothing is stored.
            Conflict: The name or the key stands for another task.
        """
        key = idempotency_key or order.idempotency_key
        if key is None:
            key = secrets.token_hex(16)
            # The API makes a name from the key alone; one with the type in it reads better.
            stem = "pipeline" if order.steps else order.type or "task"
            name = order.name or names.made_up(stem)
            order = order.model_copy(update={"name": name})
        answer = self._send(
            "POST", "/api/v1/tasks", body=order.to_json(), headers={"Idempotency-Key": key}
        )
        return _parsed(answer, models.TaskView)

    def submit_many(
        self, orders: Iterable[models.TaskOrder], *, idempotency_key: str | None = None
    ) -> list[models.BatchItem]:
        """Hand over up to 500 tasks in one request; return what became of each.

        One that is wrong stops no other: look at each `problem`. The key covers them all, and is
        made up when absent, as in `submit`.
        """
        answer = self._send(
            "POST",
            "/api/v1/tasks:batch",
            body={"items": [order.to_json() for order in orders]},
            headers={"Idempotency-Key": idempotency_key or secrets.token_hex(16)},
        )
        return _parsed(answer, models.BatchAnswer).items

    def cancel_many(self, wanted: models.TaskFilter, *, everything: bool = False) -> Iterator[str]:
        """Ask all tasks to end that fit; yield their ids, page by page.

        Args:
            wanted: What they must be like.
            everything: All that go on, if nothing else is said of them.

        Raises:
            InvalidRequest: Nothing is said of them, or both.
        """
        order = wanted.to_json() | ({"all": True} if everything else {})
        while True:
            answer = self._send("POST", "/api/v1/tasks:cancel", body=order)
            done = _parsed(answer, models.Cancellation)
            yield from done.items
            if done.next_cursor is None:
                return
            order["cursor"] = done.next_cursor

    def get(self, task_id: str, *, patience: float = PATIENCE) -> models.TaskView:
        """Look at a task.

        Raises:
            NotFound: There is no such task.
        """
        return _parsed(self._send("GET", _task(task_id), patience=patience), models.TaskView)

    def state(self, task_id: str, *, patience: float = PATIENCE) -> models.TaskState:
        """Look at a task's phase and progress only.

        Raises:
            NotFound: There is no such task.
        """
        answer = self._send("GET", _task(task_id, "/state"), patience=patience)
        return _parsed(answer, models.TaskState)

    def page(
        self,
        wanted: models.TaskFilter = _EVERY,
        *,
        sort: models.SortOrder = models.SortOrder.NEWEST,
        limit: int = 100,
        cursor: str | None = None,
    ) -> models.TaskPage:
        """Read one page of the list of tasks, live and archived."""
        answer = self._send(
            "GET",
            "/api/v1/tasks",
            parameters={
                "phase": [str(phase) for phase in wanted.phases],
                "queue": wanted.queue,
                "type": wanted.type,
                "owner": wanted.owner,
                "label": [f"{key}={value}" for key, value in wanted.labels.items()],
                "search": wanted.search,
                "since": _stamp(wanted.since),
                "until": _stamp(wanted.until),
                "archived": _word(wanted.archived),
                "sort": str(sort),
                "limit": limit,
                "cursor": cursor,
            },
        )
        return _parsed(answer, models.TaskPage)

    def tasks(
        self,
        wanted: models.TaskFilter = _EVERY,
        *,
        sort: models.SortOrder = models.SortOrder.NEWEST,
        limit: int | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> Iterator[models.TaskView]:
        """Yield the tasks that fit, page by page.

        Args:
            wanted: What they must be like.
            sort: In which order.
            limit: No more of them than this.
            notice: Is told what a page lacks although it fits, and why.
        """
        cursor = None
        left = limit
        while left is None or left > 0:
            page = self.page(
                wanted,
                sort=sort,
                limit=100 if left is None else min(left, 100),
                cursor=cursor,
            )
            if page.incomplete is not None:
                notice(page.incomplete)
            yield from page.items[:left]
            left = None if left is None else left - len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def wait(self, task_id: str, *, timeout: float | None = None) -> models.TaskView:
        """Wait until a task is finished, whatever the outcome, with few requests.

        Raises:
            WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
        """
        until = None if timeout is None else self._clock() + timeout
        while True:
            left = None if until is None else until - self._clock()
            # The header takes whole seconds, and less than one is no wait at all.
            seconds = _LONG_POLL if left is None else max(1, min(_LONG_POLL, round(left)))
            asked_at = self._clock()
            answer = self._send(
                "GET",
                _task(task_id),
                headers={"Prefer": f"wait={seconds}"},
                patience=WAITING_PATIENCE,
                timeout=seconds + 30.0,
            )
            task = _parsed(answer, models.TaskView)
            if task.phase.is_terminal:
                return task
            if until is not None and self._clock() >= until:
                raise errors.WaitTimeout(task_id, _state_of(task))
            if "Preference-Applied" not in answer.headers:
                self._sleep(1.0)  # a proxy took the header away
            elif self._clock() - asked_at < seconds:
                self._sleep(_SHORTEST_WAIT)  # it could not wait either

    def watch(
        self, task_id: str, *, timeout: float | None = None, interval: float = 1.0
    ) -> Iterator[models.TaskState]:
        """Yield a task's state again and again; the last one is its end.

        Raises:
            WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
        """
        for _ in self._moments(timeout, interval):
            state = self.state(task_id, patience=WAITING_PATIENCE)
            yield state
            if state.state.is_terminal:
                return
        raise errors.WaitTimeout(task_id, state)

    def follow(
        self, task_id: str, *, timeout: float | None = None, interval: float = 1.0
    ) -> Iterator[models.TaskView]:
        """Yield a task with all its steps again and again; the last one is its end.

        Raises:
            WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
        """
        for _ in self._moments(timeout, interval):
            task = self.get(task_id, patience=WAITING_PATIENCE)
            yield task
            if task.phase.is_terminal:
                return
        raise errors.WaitTimeout(task_id, _state_of(task))

    def events(self, task_id: str, *, last_id: str = "") -> Iterator[streaming.Told]:
        """Yield what becomes of a task as it happens, until its end; a broken stream goes on.

        Args:
            task_id: The task's id.
            last_id: The last id that is known of it already.

        Raises:
            NotFound: There is no such task.
        """
        return self._stream(streaming.of_task(task_id, last_id=last_id))

    def events_of(
        self, wanted: models.TaskFilter = _EVERY, *, last_id: str = ""
    ) -> Iterator[streaming.Told]:
        """Yield what becomes of all tasks that fit, for ever; a broken stream goes on.

        Args:
            wanted: What tasks must be like: phases, queue, type, owner, labels.
            last_id: The last id that is known already; without one it begins now.
        """
        return self._stream(streaming.of_tasks(wanted, last_id=last_id))

    def _stream(self, subscription: streaming.Subscription) -> Iterator[streaming.Told]:
        while not subscription.is_over:
            response = self._send(
                "GET",
                subscription.path,
                parameters=subscription.parameters,
                headers=subscription.headers,
                patience=WAITING_PATIENCE,
                timeout=streaming.SILENCE_SECONDS,
                stream=True,
            )
            try:
                if response.status_code == httpx.codes.NO_CONTENT:
                    return
                for sent in EventSource(response).iter_sse():
                    if (told := subscription.take(sent)) is not None:
                        yield told
            except httpx.HTTPError:
                pass  # it broke: what was missed comes next
            finally:
                response.close()
            if not subscription.is_over:
                self._sleep(subscription.broken())

    def result(self, task_id: str, *, step: str | None = None) -> Any:
        """Return what a finished task brought; None if nothing, or if it failed.

        With `step` it is what that step of a pipeline brought, as soon as it has succeeded.

        It is the value of its JSON; of what is no JSON it is the text, or else the bytes. All of it
        is in memory: `result_content` is for what is larger.

        Raises:
            Conflict: The task is not finished, or the step has not succeeded.
            NotFound: There is no such task or step, or its result is not kept any more.
        """
        answer = self._send(
            "GET", _task(task_id, "/result"), parameters={"step": step}, headers=_AS_IT_IS
        )
        match answer.headers.get("Content-Type", "").partition(";")[0]:
            case v1alpha1.MediaType.TEXT:
                return answer.content.decode()
            case v1alpha1.MediaType.BYTES:
                return answer.content
        return json.loads(answer.content)

    def result_content(self, task_id: str, *, step: str | None = None) -> Iterator[bytes]:
        """Yield the same as the API has it, byte by byte, in pieces.

        Where the connection breaks, another one goes on.

        Raises:
            Conflict: The task is not finished, or the step has not succeeded.
            NotFound: There is no such task or step, or its result is not kept any more.
        """
        had, etag = 0, ""
        while True:
            rest = {"Range": f"bytes={had}-", "If-Range": etag} if had else {}
            response = self._send(
                "GET",
                _task(task_id, "/result"),
                parameters={"step": step},
                headers=_AS_IT_IS | rest,
                stream=True,
            )
            before = had
            try:
                if had and response.status_code != httpx.codes.PARTIAL_CONTENT:
                    raise errors.UnexpectedAnswer("The result is another one by now: begin again.")
                etag = response.headers.get("ETag", "")
                for piece in response.iter_bytes():
                    had += len(piece)
                    yield piece
                return
            except httpx.HTTPError as error:
                if had == before or not etag:
                    raise _unreachable(error) from error
            finally:
                response.close()

    def logs(
        self,
        task_id: str,
        *,
        step: str | None = None,
        follow: bool = False,
        attempt: int | None = None,
        tail: int | None = None,
        since: datetime | None = None,
        timestamps: bool = False,
    ) -> Iterator[str]:
        """Yield the log of an attempt in pieces as they come: when its pod is gone, the end of it.

        Args:
            task_id: The task's id.
            step: Of a pipeline: the step's name, or `STEP.INDEX` for one of its items.
            follow: Wait for the program to start, and go on until it ends.
            attempt: The attempt's number; the last when absent.
            tail: The last lines, so many.
            since: What was written at this time or later.
            timestamps: Begin each line with the time when it was written.

        Raises:
            NotStarted: There is no log yet; never with `follow`.
            NotFound: There is no such task, step or attempt, or its log is gone.
        """
        parameters = {
            "step": step,
            "follow": _word(follow),
            "attempt": attempt,
            "tail": tail,
            "since": _stamp(since),
            "timestamps": "true" if timestamps else None,
        }
        request = self._http.build_request(
            "GET",
            _task(task_id, "/logs"),
            params=_present(parameters),
            headers={"Accept": f"text/plain, {_PROBLEM}"},
            # A program may be silent for hours.
            timeout=httpx.Timeout(30.0, connect=5.0, read=None),
        )
        while True:
            try:
                response = self._http.send(request, stream=True)
                try:
                    if response.is_success:
                        yield from response.iter_text()
                        return
                    response.read()
                finally:
                    response.close()
            except httpx.HTTPError as error:
                raise _unreachable(error) from error
            refused = _refusal(response)
            if not (follow and isinstance(refused, errors.NotStarted)):
                raise refused
            self._sleep(1.0)

    def cancel(self, task_id: str) -> models.TaskView:
        """Ask a task to end; its record stays. A finished one stays as it is."""
        return _parsed(self._send("POST", _task(task_id, ":cancel")), models.TaskView)

    def retry(
        self,
        task_id: str,
        changes: Mapping[str, Any] | None = None,
        *,
        from_failed: bool = False,
        idempotency_key: str | None = None,
    ) -> models.TaskView:
        """Make a new task of one that has ended; it is stored when this returns.

        Args:
            task_id: The task that has ended; it stays as it is.
            changes: Fields of an order, as the API names them, each in place of that task's whole
                field; None takes one away.
            from_failed: Of a pipeline that did not succeed: take over the results of the steps
                that did, and the checkpoints of the others. Then `steps`, `input` and `output`
                cannot be changed.
            idempotency_key: Made up when absent, as in `submit`.

        Raises:
            InvalidRequest: A change is wrong; nothing is stored.
            NotFound: There is no such task.
            Conflict: It has not ended, or nothing of it failed, or the new name or the key stands
                for another task.
        """
        body = dict(changes or {})
        key = idempotency_key or body.get("idempotencyKey")
        if key is None:
            key = secrets.token_hex(16)
            body.setdefault("name", names.made_up_after(task_id))
        return _parsed(
            self._send(
                "POST",
                _task(task_id, ":retry"),
                parameters={"fromFailed": _word(from_failed or None)},
                body=body,
                headers={"Idempotency-Key": key},
            ),
            models.TaskView,
        )

    def set_priority(self, task_id: str, priority: int) -> models.TaskView:
        """Give a task that waits another place in its queue: 0 to 100 minutes of head start.

        Raises:
            Conflict: It runs or is over.
            NotFound: There is no such task.
        """
        change = {"priority": priority}
        return _parsed(self._send("PATCH", _task(task_id), body=change), models.TaskView)

    def delete(self, task_id: str) -> None:
        """Remove a task and everything of it; one that runs is ended."""
        # Never again: a second answer of "not found" would say nothing.
        self._send("DELETE", _task(task_id), patience=0)

    # Callbacks

    def callbacks(self, task_id: str) -> models.CallbackLog:
        """Return how a task's last event is delivered, and each try.

        Raises:
            NotFound: There is no such task.
        """
        return _parsed(self._send("GET", _task(task_id, "/callbacks")), models.CallbackLog)

    def redeliver(self, task_id: str) -> models.CallbackLog:
        """Have a task's last callback delivered again: the same id and body.

        Raises:
            NotFound: There is no such task.
            Conflict: There was no callback of it yet.
        """
        path = _task(task_id, "/callbacks:redeliver")
        return _parsed(self._send("POST", path), models.CallbackLog)

    def redeliver_all(
        self,
        since: datetime | str,
        until: datetime | str,
        *,
        state: v1alpha1.CallbackState | None = None,
    ) -> Iterator[str]:
        """Have callbacks delivered again that report what happened in a range of time.

        Yield the ids of their tasks, page by page.

        Args:
            since: From this time on, as RFC 3339 writes it or with its zone,
            until: to before this one.
            state: Only those that stand like this; Delivered and Exhausted when absent.
        """
        order = {"from": _time(since), "to": _time(until), "state": state, "cursor": None}
        while True:
            body = {key: value for key, value in order.items() if value is not None}
            answer = self._send("POST", "/api/v1/callbacks:redeliver", body=body)
            done = _parsed(answer, models.Redelivery)
            yield from done.items
            if done.next_cursor is None:
                return
            order["cursor"] = done.next_cursor

    def test_callback(self, url: str) -> models.CallbackTrial:
        """Have a signed `longtask.test` sent to a receiver; return what became of it.

        Raises:
            InvalidRequest: The URL may not be called.
        """
        path, body = "/api/v1/callbacks:test", {"url": url}
        # Once is what was asked for. A receiver has fifteen seconds, and its name some more.
        answer = self._send("POST", path, body=body, patience=0, timeout=60.0)
        return _parsed(answer, models.CallbackTrial)

    # Queues

    def queues(self) -> list[models.QueueView]:
        """Return all queues, by name."""
        return _parsed(self._send("GET", "/api/v1/queues"), models.QueueList).items

    def queue(
        self, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> models.QueueContent:
        """Return a queue, and one page of the tasks that wait in it, the next one first.

        Raises:
            NotFound: There is no such queue.
        """
        parameters = {"limit": limit, "cursor": cursor}
        return _parsed(self._send("GET", _queue(name), parameters=parameters), models.QueueContent)

    def pause_queue(self, name: str) -> models.QueueView:
        """Let a queue start no task from now on; those that run go on. For admins.

        Raises:
            NotFound: There is no such queue.
        """
        return _parsed(self._send("POST", _queue(name, ":pause")), models.QueueView)

    def resume_queue(self, name: str) -> models.QueueView:
        """Let a paused queue start tasks again. For admins.

        Raises:
            NotFound: There is no such queue.
        """
        return _parsed(self._send("POST", _queue(name, ":resume")), models.QueueView)

    # What tasks can be, and who asks

    def types(self) -> list[models.TypeView]:
        """Return all types of tasks."""
        return _parsed(self._send("GET", "/api/v1/types"), models.TypeList).items

    def type(self, name: str) -> models.TypeView:
        """Return one type of tasks."""
        path = f"/api/v1/types/{quote(name, safe='')}"
        return _parsed(self._send("GET", path), models.TypeView)

    def callback_key(self) -> str:
        """Return the key that signs one's callbacks."""
        return _parsed(self._send("GET", "/api/v1/me/callback-key"), models.CallbackKey).key

    def rotate_callback_key(self) -> models.CallbackKey:
        """Make a new key that signs one's callbacks; for a day the one before signs as well.

        Raises:
            Conflict: As many keys sign already as may.
        """
        # Never again: each makes one more.
        path = "/api/v1/me/callback-key:rotate"
        return _parsed(self._send("POST", path, patience=0), models.CallbackKey)

    def version(self) -> str:
        """Return the server's version."""
        return _parsed(self._send("GET", "/version"), models.Version).version

    def _moments(self, timeout: float | None, interval: float) -> Iterator[None]:
        """Yield when to look, at once and again and again, until the time is over."""
        until = None if timeout is None else self._clock() + timeout
        pause = interval / 4  # many tasks are short
        while True:
            yield
            if until is not None:
                left = until - self._clock()
                if left <= 0:
                    return
                pause = min(pause, left)
            self._sleep(pause)
            pause = min(pause * 1.5, interval)

    def _send(
        self,
        method: _Method,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        timeout: float | None = None,
        stream: bool = False,
    ) -> httpx.Response:
        """Send a request that may be sent twice; while it fails for now, send it again.

        With `stream` the answer's body is not read yet, and the answer is to be closed.
        """
        request = self._http.build_request(
            method,
            path,
            params=_present(parameters or {}),
            json=body,
            headers=headers,
            timeout=_TIMEOUT if timeout is None else httpx.Timeout(timeout, connect=5.0),
        )
        until = self._clock() + patience
        pause = 0.25
        while True:
            failure: errors.LongTaskError
            wanted_pause = 0.0
            try:
                response = self._http.send(request, stream=stream)
                if stream and not response.is_success:
                    response.read()
            except httpx.HTTPError as error:
                failure = _unreachable(error)
            else:
                if response.is_success:
                    return response
                failure = _refusal(response)
                if response.status_code not in _NOT_NOW:
                    raise failure
                wanted_pause = _retry_after(response)
            left = until - self._clock()
            if left <= 0 or wanted_pause > patience:
                raise failure
            pause = max(pause, wanted_pause) * random.uniform(1.0, 1.2)
            self._sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)


def _time(at: datetime | str) -> str:
    return at if isinstance(at, str) else at.isoformat()


def _task(task_id: str, rest: str = "") -> str:
    return f"/api/v1/tasks/{quote(task_id, safe='')}{rest}"


def _queue(name: str, rest: str = "") -> str:
    return f"/api/v1/queues/{quote(name, safe='')}{rest}"


def _present(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameters.items() if value not in (None, [])}


def _state_of(task: models.TaskView) -> models.TaskState:
    return models.TaskState(state=task.phase, percent=task.percent)


def _word(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parsed(response: httpx.Response, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise errors.UnexpectedAnswer(errors.UnexpectedAnswer.__doc__) from error


def _refusal(response: httpx.Response) -> errors.LongTaskError:
    """Return what an answer other than a success means."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind == _PROBLEM:
        try:
            return errors.from_problem(models.Problem.model_validate_json(response.content))
        except ValidationError:
            pass
    if response.status_code in _NOT_NOW:
        title = f"{response.status_code} {response.reason_phrase}"
        problem = models.Problem(type="about:blank", title=title, status=response.status_code)
        return errors.from_problem(problem)
    return errors.UnexpectedAnswer(
        f"{response.url.copy_with(query=None)} answers {response.status_code}"
        f" {response.reason_phrase}, and not as LongTask does: is the URL right?"
    )


def _unreachable(error: httpx.HTTPError) -> errors.ConnectionFailed:
    reason = str(error) or type(error).__name__
    return errors.ConnectionFailed(f"No answer from {error.request.url.host}: {reason}")


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0  # a date: our own pause is as good
