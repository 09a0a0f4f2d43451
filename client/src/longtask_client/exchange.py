"""What passes between a client and the API, without any IO: calls as values, loops as flows.

A flow is a generator. It yields what is to be done next, is told what came of it, and returns its
value at its end. `client` and `aio` walk through flows, each in its own way, and decide nothing:
when something is asked again, and how long is waited before, is said here and in `calls`, once.
"""

import dataclasses
import random
from collections.abc import Callable, Container, Generator, Iterable, Mapping
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from longtask_client import errors, models

_T = TypeVar("_T")
_U = TypeVar("_U")
_M = TypeVar("_M", bound=BaseModel)
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

PROBLEM: Final = "application/problem+json"
#: Which state of things an answer is of, and a request is to be answered from.
VERSION: Final = "LongTask-Version"
#: What is missing in an answer although it is wanted: where only Kubernetes can be asked.
INCOMPLETE: Final = "LongTask-Incomplete"
#: How long a call tries again while nobody answers or the API, which asks for 5 s a time, is away.
PATIENCE: Final = 30.0
#: The same while it waits for a task, which may take longer than a restart of the API.
WAITING_PATIENCE: Final = 60.0
#: How long an answer may take.
TIMEOUT: Final = 30.0

#: Answers that say "not now"; proxies give them too, without a problem's body.
_NOT_NOW = frozenset({429, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked."""

    method: Method
    path: str
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    timeout: float | None = TIMEOUT  #: for the answer, or each piece of it; None is no limit
    is_stream: bool = False  #: the answer's body is read piece by piece

    @property
    def query(self) -> dict[str, Any]:
        """Return the parameters that say something."""
        return {key: value for key, value in self.parameters.items() if value not in (None, [])}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; of a success that is read piece by piece there is no content here."""

    url: str
    status: int
    phrase: str
    headers: Mapping[str, str]
    content: bytes = b""

    @property
    def is_success(self) -> bool:
        """Tell whether what was asked for is done."""
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        """Return what the content is."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip()


@dataclasses.dataclass(frozen=True)
class Send:
    """Send the request. Told: the answer, or `ConnectionFailed` is raised."""

    request: Request


@dataclasses.dataclass(frozen=True)
class Read:
    """Read of the last answer. Told: a piece, None at its end; or `ConnectionFailed` is raised."""


@dataclasses.dataclass(frozen=True)
class Sleep:
    """Let so many seconds pass."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Clock:
    """Look at the clock. Told: seconds since whenever."""


@dataclasses.dataclass(frozen=True)
class Give(Generic[_T]):
    """Hand a value to whoever iterates."""

    value: _T


Step: TypeAlias = Send | Read | Sleep | Clock
Flow: TypeAlias = Generator[Step, Any, _T]
Stream: TypeAlias = Generator[Step | Give[_T], Any, None]


@dataclasses.dataclass(frozen=True)
class Call(Generic[_T]):
    """One question to the API, and how its answer is read."""

    request: Request
    read: Callable[[Answer], _T]
    patience: float = PATIENCE  #: for so long it is asked again while it fails for now; 0: once

    def flow(self) -> Flow[_T]:
        """Ask, and read the answer."""
        return self.read((yield from sent(self.request, self.patience)))


def call(
    method: Method,
    path: str,
    model: type[_M],
    *,
    patience: float = PATIENCE,
    **parts: Any,
) -> Call[_M]:
    """Return a call that is answered with a model."""
    return Call(Request(method, path, **parts), lambda answer: parsed(answer, model), patience)


class Conversation(Protocol):
    """What answers requests, one after another, and closes what is left open."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def send(self, asked: Request) -> Answer | errors.ConnectionFailed:
        """Answer a request; what is still open of the one before is closed."""

    def read(self) -> bytes | errors.ConnectionFailed | None:
        """Return the next piece of an answer that comes in pieces; None at its end."""


class Course(Generic[_T]):
    """A flow on its way.

    Args:
        flow: The flow.
    """

    value: Any = None  #: what it returned, once it is over

    def __init__(self, flow: Generator[Step | Give[_T], Any, Any]) -> None:
        self._flow = flow

    def next(self, told: object = None) -> Step | Give[_T] | None:
        """Tell what came of the step before; return the next one, or None at the end.

        Args:
            told: What came of it; an error is raised where the flow waits.
        """
        try:
            if isinstance(told, errors.LongTaskError):
                return self._flow.throw(told)
            return self._flow.send(told)
        except StopIteration as ended:
            self.value = ended.value
            return None


def each(stream: Stream[_T], of: Callable[[_T], Iterable[_U]]) -> Stream[_U]:
    """Yield what each value of a stream is made into, which may be nothing."""
    course: Course[_T] = Course(stream)
    told: object = None
    while (step := course.next(told)) is not None:
        told = None
        if isinstance(step, Give):
            for made in of(step.value):
                yield Give(made)
            continue
        try:
            told = yield step
        except errors.LongTaskError as error:
            told = error


def first(stream: Stream[_T], fits: Callable[[_T], bool]) -> Flow[_T | None]:
    """Return the first value of a stream that fits; None if it ends before."""
    course: Course[_T] = Course(stream)
    told: object = None
    while (step := course.next(told)) is not None:
        told = None
        if isinstance(step, Give):
            if fits(step.value):
                return step.value
            continue
        try:
            told = yield step
        except errors.LongTaskError as error:
            told = error
    return None


def clock() -> Flow[float]:
    """Look at the clock."""
    seconds: float = yield Clock()
    return seconds


def sent(
    request: Request, patience: float = PATIENCE, *, refused: Container[int] = ()
) -> Flow[Answer]:
    """Send a request that may be sent twice; while it fails for now, send it again.

    Args:
        request: The request.
        patience: For so many seconds it is sent again.
        refused: Answers with these status codes are final.
    """
    until = (yield from clock()) + patience
    pause = _FIRST_PAUSE
    while True:
        failure: errors.LongTaskError
        wanted = 0.0
        try:
            answer: Answer = yield Send(request)
        except errors.ConnectionFailed as error:
            failure = error
        else:
            if answer.is_success:
                return answer
            failure = refusal(answer)
            if answer.status not in _NOT_NOW or answer.status in refused:
                raise failure
            wanted = _retry_after(answer)
        left = until - (yield from clock())
        if left <= 0 or wanted > patience:
            raise failure
        pause = max(pause, wanted) * random.uniform(1.0, 1.2)
        yield Sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def parsed(answer: Answer, model: type[_M]) -> _M:
    """Return the model that the answer is.

    Raises:
        UnexpectedAnswer: It is none.
    """
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise errors.UnexpectedAnswer(errors.UnexpectedAnswer.__doc__) from error


def refusal(answer: Answer) -> errors.LongTaskError:
    """Return what an answer other than a success means."""
    if answer.media_type == PROBLEM:
        try:
            problem = models.Problem.model_validate_json(answer.content)
        except ValidationError:
            pass
        else:
            return errors.from_problem(problem)
    told = f"{answer.status} {answer.phrase}"
    if answer.status in _NOT_NOW:
        return errors.from_problem(
            models.Problem(type="about:blank", title=told, status=answer.status)
        )
    return errors.UnexpectedAnswer(
        f"{answer.url} answers {told}, and not as LongTask does: is the URL right?"
    )


def _retry_after(answer: Answer) -> float:
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0  # a date: our own pause is as good
