"""Who may report for which program: the pod of its running attempt, and nobody else."""

import dataclasses
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors
from longtask_api.cluster import Cluster
from longtask_api.http import limits
from longtask_api.remembered import Answers, Remembered
from longtask_api.stores.resources import Resources
from longtask_crds import names, runner_contract, v1alpha1
from longtask_crds.pipeline import runs

V = TypeVar("V")

#: Of a token, good or not.
_REVIEW_SECONDS = 10.0
#: So many tokens are looked at at once, and so many may wait for that.
_REVIEWS_AT_ONCE = 16
_MOST_WAITING = 1_000
#: The runner tries a refusal again for ten seconds: what mends itself must be seen in that time.
_REFUSAL_SECONDS = 2.0
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"


#: A program reports once a second, and may fetch the results of many steps at its start.
_OF_POD = limits.Bucket("pod", 200, 10)


@dataclasses.dataclass(frozen=True)
class _Reporter:
    """A pod, by its token."""

    key: names.ObjectKey
    uid: str


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a pod was made for."""

    task: names.ObjectKey
    task_uid: str
    run: str
    attempt: int


@dataclasses.dataclass(frozen=True)
class Program:
    """What runs in a pod: the program of a plain task, or one of a pipeline's."""

    task: v1alpha1.LongTask
    run: str  #: its name; empty for that of a plain task
    attempt: int
    pod: names.ObjectKey
    pod_uid: str

    @property
    def is_to_end(self) -> bool:
        """Tell whether it was asked to end; a step marked `finally` runs on, whatever is ended."""
        return runs.is_to_end(self.task, self.run)


class Reporters:
    """Knows the pods behind the tokens, and what they work on."""

    def __init__(
        self,
        resources: Resources,
        cluster: Cluster,
        *,
        namespace: str,
        limiter: limits.Limiter,
        operator_account: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Judge those who come to the runner port.

        Args:
            resources: Where tasks are.
            cluster: Where tokens and pods are looked at.
            namespace: Where the tasks' pods are.
            limiter: Counts what each pod asks for.
            operator_account: The user name of the operator.
            clock: Says seconds.
        """
        self._resources = resources
        self._cluster = cluster
        self._namespace = namespace
        self._limiter = limiter
        self._operator_account = operator_account
        self._reviews: Answers[bytes, _Reporter | str] = _answers(clock)
        self._operators: Answers[bytes, bool] = _answers(clock)
        self._refusals: Remembered[str, str] = Remembered(clock, _REFUSAL_SECONDS)
        self._past_refusals: Remembered[str, str] = Remembered(clock, _REFUSAL_SECONDS)
        self._work: Remembered[str, _Work] = Remembered(clock)

    async def admit(self, token: str) -> None:
        """Count a request of a pod, before anything is done for it.

        Raises:
            Unauthenticated: The token is no report token of a pod of the tasks' namespace.
            TooManyRequests: The pod asks too often.
        """
        self._limiter.take(_OF_POD, (await self._pod_behind(token)).uid)

    async def program_of(self, token: str) -> Program:
        """Return what the token's pod works on.

        Raises:
            Unauthenticated: The token is no report token of a pod of the tasks' namespace.
            Clash: The pod is not that of a running attempt.
        """
        return await _asked_once(await self._pod_behind(token), self._program_of, self._refusals)

    async def current_program_of(self, token: str) -> Program:
        """Return the same as `program_of`, but as Kubernetes has it now: to write what must be so.

        Raises:
            Unauthenticated, Clash: As for `program_of`.
        """
        await self._resources.look(key_of((await self.program_of(token)).task))
        return await self.program_of(token)

    async def pod_uid_of(self, token: str) -> str:
        """Return the uid of the token's pod, whatever it works on.

        Raises:
            Unauthenticated: The token is no report token of a pod of the tasks' namespace.
        """
        return (await self._pod_behind(token)).uid

    async def past_program_of(self, token: str) -> Program:
        """Return what the token's pod works or worked on: its attempt may be over.

        Raises:
            Unauthenticated: As for `program_of`.
            Clash: The pod is not that of the last attempt of anything.
        """
        pod = await self._pod_behind(token)
        return await _asked_once(pod, self._past_program_of, self._past_refusals)

    async def is_deleted(self, program: Program) -> bool:
        """Tell whether a program's pod is being deleted, or gone, as Kubernetes has it now."""
        seen = await self._pod(program.pod)
        return seen is None or seen.uid != program.pod_uid or seen.deletion_timestamp is not None

    async def check_operator(self, token: str) -> None:
        """Let the operator pass.

        Raises:
            Unauthenticated: The token is not the operator's for this.
        """
        digest = hashlib.sha256(token.encode()).digest()
        if not await self._operators.get(digest, lambda: self._is_operators(token)):
            raise errors.Unauthenticated("The token is not the operator's.")

    async def _is_operators(self, token: str) -> bool:
        audience = runner_contract.OPERATOR_AUDIENCE
        identity = await self._cluster.review_token(token, audience)
        return (
            identity is not None
            and audience in identity.audiences
            and identity.username == self._operator_account
        )

    async def _program_of(self, pod: _Reporter) -> Program:
        work = await self._work_of(pod)
        task = await self._task(work.task)
        if not _is_current(task, work, pod):
            raise errors.Clash("The pod is not that of the task's running attempt.")
        return Program(task, work.run, work.attempt, pod.key, pod.uid)

    async def _past_program_of(self, pod: _Reporter) -> Program:
        work = await self._work_of(pod)
        task = await self._task(work.task)
        if task.metadata.uid != work.task_uid:
            raise errors.Clash("The pod's task is gone.")
        return Program(task, work.run, work.attempt, pod.key, pod.uid)

    async def _work_of(self, pod: _Reporter) -> _Work:
        work = self._work.get(pod.uid)
        if work is None:
            work = self._recorded(pod) or await self._vouched(pod)
            self._work.keep(pod.uid, work)
        return work

    async def _pod_behind(self, token: str) -> _Reporter:
        digest = hashlib.sha256(token.encode()).digest()
        found = await self._reviews.get(digest, lambda: self._reviewed(token))
        if isinstance(found, str):
            raise errors.Unauthenticated(found)
        return found

    async def _reviewed(self, token: str) -> _Reporter | str:
        """Return the pod behind a token, or why there is none."""
        identity = await self._cluster.review_token(token, runner_contract.REPORT_AUDIENCE)
        # Without our audience in the answer it may be a token for the API server itself.
        if identity is None or runner_contract.REPORT_AUDIENCE not in identity.audiences:
            return "The token is not for reports."
        name, uid = _only(identity.extra.get(_POD_NAME)), _only(identity.extra.get(_POD_UID))
        of_namespace = identity.username.startswith(f"system:serviceaccount:{self._namespace}:")
        if not (of_namespace and name and uid):
            return "The token is not bound to a pod of a task."
        return _Reporter(names.ObjectKey(self._namespace, name), uid)

    def _recorded(self, pod: _Reporter) -> _Work | None:
        """Return the work of a pod that the operator has recorded, or None."""
        found = self._resources.program_of_pod(pod.uid)
        return None if found is None else _work(*found)

    async def _vouched(self, pod: _Reporter) -> _Work:
        """Return the work of a pod that is not known to run by its record: its Job vouches."""
        refused = errors.Clash("The pod does not belong to a task's running attempt.")
        seen = await self._pod(pod.key)
        if seen is None or seen.uid != pod.uid:
            raise refused
        task = await self._task(pod.key.sibling(seen.labels.get(names.TASK_LABEL, "")))
        run = runs.named(task, seen.labels.get(names.STEP_LABEL, ""))
        if run is None:
            raise refused
        last = run.last
        jobs = [o for o in seen.owner_references if (o.kind, o.name) == ("Job", last.job_name)]
        if not any(last.job_uid in (None, job.uid) for job in jobs):
            raise refused
        if last.pod_uid not in (None, pod.uid):
            raise refused
        return _Work(key_of(task), task.metadata.uid, run.name, last.number)

    async def _pod(self, key: names.ObjectKey) -> v1alpha1.ObjectMeta | None:
        try:
            return await self._cluster.get_pod(key)
        except kube.NotFound:
            return None

    async def _task(self, key: names.ObjectKey) -> v1alpha1.LongTask:
        task = await self._resources.find_task(key)
        if task is None:
            raise errors.Clash("The pod's task is gone.")
        return task


async def _asked_once(
    pod: _Reporter,
    find: Callable[[_Reporter], Awaitable[Program]],
    refusals: Remembered[str, str],
) -> Program:
    """Return what is found of a pod: one that asks again and again makes us ask once for a while.

    Raises:
        Clash: Nothing is found; that is remembered.
    """
    if (refusal := refusals.get(pod.uid)) is not None:
        raise errors.Clash(refusal)
    try:
        return await find(pod)
    except errors.Clash as error:
        refusals.keep(pod.uid, str(error))
        raise


def _work(task: v1alpha1.LongTask, name: str) -> _Work | None:
    """Return the work of whoever works on a program now."""
    run = runs.named(task, name)
    if run is None:
        return None
    return _Work(key_of(task), task.metadata.uid, name, run.last.number)


def _is_current(task: v1alpha1.LongTask, work: _Work, pod: _Reporter) -> bool:
    run = runs.named(task, work.run)
    return (
        not task.is_finished
        and task.metadata.uid == work.task_uid
        and run is not None
        and not run.is_over
        and run.last.number == work.attempt
        and run.last.pod_uid in (None, pod.uid)
        and run.last.finished_at is None
    )


def _only(values: tuple[str, ...] | None) -> str:
    return values[0] if values and len(values) == 1 else ""


def _answers(clock: Callable[[], float]) -> Answers[bytes, V]:
    return Answers(clock, _REVIEW_SECONDS, at_once=_REVIEWS_AT_ONCE, most_waiting=_MOST_WAITING)
