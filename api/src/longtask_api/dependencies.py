"""What endpoints get handed."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from longtask_adapters import logs
from longtask_api import deeds, errors, json_text, versions, wiring
from longtask_api.auth import callers
from longtask_api.auth.callers import Act
from longtask_api.http import limits
from longtask_api.services import (
    audit,
    boards,
    callback_keys,
    compositions,
    deliveries,
    health,
    notices,
    queues,
    results,
    streams,
    subscriptions,
    trends,
    trials,
    types,
)
from longtask_api.services.accounts.admin import AdminService
from longtask_api.services.accounts.own import AccountService
from longtask_api.services.pods import handovers, outcomes, progress, reporters
from longtask_api.services.schedules.runs import RunService
from longtask_api.services.schedules.service import ScheduleService
from longtask_api.services.tasks.changing import ChangeService
from longtask_api.services.tasks.logs import LogService
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.tasks.taking import OrderService
from longtask_client import models
from longtask_crds import acceptance, runner_contract

_BODY_SECONDS = 60.0
#: A place at the runner port is a pod; where addresses are translated, a node with all its pods.
_OF_PLACE = limits.Bucket("place", 3_000, 10)
#: Methods that change nothing.
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: The one character that PostgreSQL has in no text.
_NUL = "\0"

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A token of yours, or the installation's.",
)


async def get_services(request: Request) -> wiring.Services:
    """Return what the application was built on."""
    services: wiring.Services = request.app.state.services
    return services


_Services = Annotated[wiring.Services, Depends(get_services)]


async def get_bearer_token(
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str | None:
    """Return the token that the request carries, or None."""
    return given.credentials if given else None


_Token = Annotated[str | None, Depends(get_bearer_token)]


@dataclasses.dataclass(frozen=True)
class Shown:
    """What somebody shows to say who they are."""

    token: str | None
    is_cookie: bool = False


async def get_shown(request: Request, services: _Services, token: _Token) -> Shown:
    """Return what the request shows: its bearer token, or else the cookie of a browser's session.

    Raises:
        Forbidden: A browser sends it by itself, and no page of ours has it ask for a change.
    """
    if token is not None:
        return Shown(token)
    cookie = request.cookies.get(services.browsers.cookie)
    if request.method not in _READING:
        check_origin(request, services, is_needed=cookie is not None)
    return Shown(cookie, is_cookie=cookie is not None)


def check_origin(request: Request, services: wiring.Services, *, is_needed: bool) -> None:
    """Refuse what another page has a browser ask for.

    Args:
        request: The request.
        services: What the application stands on.
        is_needed: Only a browser asks so, and it names the page. Others name none.

    Raises:
        Forbidden: It is a page of another origin, or of none.
    """
    browsers, origin = services.browsers, request.headers.get("Origin")
    if origin is None and not is_needed:
        return
    if browsers.is_ours(origin, request.headers.get("Host", "")):
        return
    # Where nobody is asked for a token, the pages that may call from elsewhere are the named ones.
    if is_needed or (services.credentials.insecure and origin not in browsers.origins):
        raise errors.Forbidden("Only a page of LongTask may have your browser ask for that.")


_Shown = Annotated[Shown, Depends(get_shown)]


async def limit_address(request: Request, services: _Services) -> None:
    """Let no address ask too often; raise TooManyRequests."""
    services.limiter.take_of_address(limits.address_of(request))


async def get_login_limit(request: Request, services: _Services) -> Callable[[str], None]:
    """Return what counts a user's try to log in, and raises TooManyRequests."""

    def take(username: str) -> None:
        services.limiter.take_login(username, limits.address_of(request))

    return take


async def get_known_caller(services: _Services, shown: _Shown) -> callers.Caller:
    """Return who asks, whatever they may.

    Raises:
        Unauthenticated: Nobody knows who it is.
        Forbidden: As `get_shown`.
        TooManyRequests: They ask too often.
    """
    caller = await services.credentials.caller(shown.token, of_cookie=shown.is_cookie)
    deeds.by(caller.name, subject=caller.subject, via=caller.via)
    services.limiter.take_of_caller(caller.subject)
    return caller


KnownCallerDep = Annotated[callers.Caller, Depends(get_known_caller)]


async def get_caller(request: Request, caller: KnownCallerDep) -> callers.Caller:
    """Return who asks, if they may do what they ask for.

    What reads and what writes is told by the method, so that no route forgets to ask.

    Raises:
        Unauthenticated, TooManyRequests: As `get_known_caller`.
        Forbidden: They may not read, or not write.
    """
    act = Act.READ if request.method in _READING else Act.WRITE
    if not caller.may(act):
        raise errors.Forbidden(f"You may not {act.value} here.")
    logs.add(caller=caller.subject or caller.name)
    return caller


async def require_known_parameters(request: Request) -> None:
    """Refuse what nobody reads: a filter with a slip in its name would find everything.

    And names that nothing has: no database has such a text.

    Raises:
        Missing: The path names something so.
        Invalid: The route has no such parameter.
    """
    if any(_NUL in str(value) for value in request.path_params.values()):
        raise errors.Missing("There is nothing of that name.")
    known = _parameters_of(request.scope["route"].dependant)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        there = f"there are {', '.join(known)}" if known else "there are none here"
        wrong = f"there is no such parameter; {there}"
        raise errors.Invalid(
            errors=[
                errors.outside(models.Place.QUERY, name[:64], wrong)
                for name in unknown[: acceptance.MAX_FINDINGS]
            ]
        )


def _parameters_of(dependant: Dependant) -> tuple[str, ...]:
    own = [field.alias for field in dependant.query_params]
    inner = [name for part in dependant.dependencies for name in _parameters_of(part)]
    return (*own, *inner)


async def get_check(
    services: _Services, shown: _Shown, caller: Annotated[callers.Caller, Depends(get_caller)]
) -> streams.Check:
    """Return what tells later whether who asks now may still do so, as what they are now."""

    async def check() -> None:
        if await services.credentials.caller(shown.token, of_cookie=shown.is_cookie) != caller:
            raise errors.Forbidden("Your rights have changed.")

    return check


async def require_synced(
    services: _Services,
    known: Annotated[
        str | None,
        Header(
            alias=versions.HEADER,
            max_length=200,
            description="What the answer to your last write says in this header: the answer is of"
            " that state or a later one, whichever replica gives it.",
        ),
    ] = None,
) -> None:
    """Answer only from caches that have been filled, as things stand now or were last seen.

    Raises:
        Unavailable: They have not, or are too far behind what the client has seen.
    """
    services.health.check_synced()
    if known is not None:
        await services.health.reach(versions.parse(known))
    services.lines.catch_up()


async def limit_place(request: Request, services: _Services) -> None:
    """Let nobody ask too often at the runner port, known or not; raise TooManyRequests."""
    services.limiter.take(_OF_PLACE, limits.address_of(request))


async def get_reporting_program(services: _Services, token: _Token) -> reporters.Program:
    """Return the program whose pod reports.

    Raises:
        Unauthenticated, TooManyRequests: As for `get_runner_token`.
        Clash: It is not that of a running attempt.
    """
    program = await services.reporters.program_of(await get_runner_token(services, token))
    logs.add(**logs.of_task(program.task), attempt=program.attempt)
    return program


async def get_handovers(services: _Services) -> handovers.Handovers:
    """Return who hands tasks to pods that wait."""
    return services.handovers


async def get_runner_token(services: _Services, token: _Token) -> str:
    """Return the token of a pod that comes to the runner port.

    Raises:
        Unauthenticated: There is none, or not one of a task's pod.
        TooManyRequests: The pod asks too often.
    """
    if token is None:
        raise errors.Unauthenticated
    services.health.check_synced()
    await services.reporters.admit(token)
    return token


async def require_operator(services: _Services, token: _Token) -> None:
    """Let the operator pass, and nobody else; raise Unauthenticated."""
    if token is None:
        raise errors.Unauthenticated
    await services.reporters.check_operator(token)


async def _body(request: Request) -> bytes:
    """Return the body; it is read once, however often it is asked for."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.body()
    except TimeoutError as error:
        raise errors.SlowBody from error


def _json_body(
    *media_types: str, may_be_absent: bool = False, depth: int = json_text.MAX_DEPTH
) -> Any:
    """Return what hands over the JSON that a request of one of these media types brings.

    Where the body may be absent, none is an empty object.
    """

    async def get(request: Request) -> Any:
        """Return the JSON.

        Raises:
            UnsupportedMedia: It calls itself something else.
            SlowBody: It does not arrive in time.
            Malformed: It is no JSON.
        """
        if may_be_absent and not await _body(request):
            return {}
        if (coding := request.headers.get("Content-Encoding", "identity")) != "identity":
            raise errors.UnsupportedMedia(
                f"Send it as it is, without Content-Encoding: {coding[:64]}.",
                headers={"Accept-Encoding": "identity"},
            )
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in media_types:
            raise errors.UnsupportedMedia(f"Send it as {' or '.join(media_types)}.")
        return json_text.loads(await _body(request), depth=depth)

    return Depends(get)


def _of(choose: Callable[[wiring.Services], Any]) -> Any:
    """Return what hands over one of the services."""

    # Not a plain function: for those FastAPI asks a thread each time.
    async def get(services: _Services) -> Any:
        return choose(services)

    return Depends(get)


AccountsDep = Annotated[AccountService, _of(lambda services: services.accounts)]
AdminDep = Annotated[AdminService, _of(lambda services: services.admin)]
AuditDep = Annotated[audit.AuditService, _of(lambda services: services.audit)]
CheckDep = Annotated[streams.Check, Depends(get_check)]
ComposerDep = Annotated[compositions.Composer, _of(lambda services: services.composer)]
LoginLimitDep = Annotated[Callable[[str], None], Depends(get_login_limit)]
CallerDep = Annotated[callers.Caller, Depends(get_caller)]
ReportingProgramDep = Annotated[reporters.Program, Depends(get_reporting_program)]
HandoversDep = Annotated[handovers.Handovers, Depends(get_handovers)]
RunnerTokenDep = Annotated[str, Depends(get_runner_token)]
JsonBodyDep = Annotated[Any, _json_body("application/json")]
OptionalJsonBodyDep = Annotated[Any, _json_body("application/json", may_be_absent=True)]
#: It holds values of statuses, which may be deeper than what people send.
DeepJsonBodyDep = Annotated[
    Any, _json_body("application/json", depth=runner_contract.VALUE_DEPTH + 3)
]
#: Orders in a list of an object.
BatchBodyDep = Annotated[Any, _json_body("application/json", depth=json_text.MAX_DEPTH + 2)]
MergePatchDep = Annotated[Any, _json_body("application/merge-patch+json", "application/json")]

BoardsDep = Annotated[boards.Boards, _of(lambda services: services.boards)]
ChangesDep = Annotated[ChangeService, _of(lambda services: services.changes)]
DeliveriesDep = Annotated[deliveries.DeliveryService, _of(lambda services: services.deliveries)]
HealthDep = Annotated[health.Health, _of(lambda services: services.health)]
KeysDep = Annotated[callback_keys.CallbackKeys, _of(lambda services: services.keys)]
LogsDep = Annotated[LogService, _of(lambda services: services.logs)]
NoticesDep = Annotated[notices.NoticeService, _of(lambda services: services.notices)]
OrdersDep = Annotated[OrderService, _of(lambda services: services.orders)]
QueuesDep = Annotated[queues.QueueService, _of(lambda services: services.queues)]
OutcomesDep = Annotated[outcomes.OutcomeService, _of(lambda services: services.outcomes)]
ProgressDep = Annotated[progress.ProgressWriter, _of(lambda services: services.progress)]
ResultsDep = Annotated[results.ResultService, _of(lambda services: services.results)]
SchedulesDep = Annotated[ScheduleService, _of(lambda services: services.schedules)]
ScheduleRunsDep = Annotated[RunService, _of(lambda services: services.schedule_runs)]
StreamsDep = Annotated[streams.StreamService, _of(lambda services: services.streams)]
SubscriptionsDep = Annotated[
    subscriptions.SubscriptionService, _of(lambda services: services.subscriptions)
]
TasksDep = Annotated[TaskService, _of(lambda services: services.tasks)]
TrendsDep = Annotated[trends.TrendService, _of(lambda services: services.trends)]
TrialsDep = Annotated[trials.Trials, _of(lambda services: services.trials)]
TypesDep = Annotated[types.TypeService, _of(lambda services: services.types)]
