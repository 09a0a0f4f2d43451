"""Why a task or a schedule stands where it stands, in plain words, and what to do next. Pure."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from longtask_client import models, spans
from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import Phase, Reason

_OUT_OF = "longtask retry {id}"
_LOG = "longtask logs {id}"


@dataclasses.dataclass(frozen=True)
class Word:
    """What a reason means, and what helps; `{id}` is the task, or the schedule."""

    means: str
    helps: tuple[str, ...] = ()


#: One entry for each reason that conditions may have.
WORDS: Final[Mapping[Reason, Word]] = {
    Reason.VALID: Word("It may run."),
    Reason.TYPE_NOT_FOUND: Word(
        "There is no type of that name.", ("See which there are: longtask types",)
    ),
    Reason.INVALID_INPUT: Word(
        "Its input does not fit what the type takes.",
        (
            "See what it takes: longtask types {type}",
            f"Try again with another input: {_OUT_OF} KEY=VALUE",
        ),
    ),
    Reason.CALLBACK_REFUSED: Word(
        "The callback's URL may not be called here.",
        ("Take a URL with https and a public address, or ask an administrator to allow it.",),
    ),
    Reason.RESOURCES_EXCEEDED: Word(
        "It asks for more than one task may have here.",
        ("Ask for less cpu, memory or disk, or ask an administrator for a type that may have it.",),
    ),
    Reason.NOT_BEFORE_TOO_FAR: Word(
        "It is to begin more than a year from now.", ("Choose an earlier notBefore.",)
    ),
    Reason.INVALID_STEPS: Word(
        "The steps of the pipeline do not fit together.", ("Mend them as the message says.",)
    ),
    Reason.NOT_SUPPORTED: Word(
        "It asks for something that this version does not do.", ("Leave the field out.",)
    ),
    Reason.INVALID_SCHEDULE: Word(
        "When it shall start runs cannot be understood.",
        ("Mend it as the message says: longtask schedule set {id} FIELD=VALUE",),
    ),
    Reason.INVALID_TEMPLATE: Word(
        "No run of its template could ever be accepted.",
        ("Mend it as the message says: longtask schedule set {id} taskTemplate=JSON",),
    ),
    Reason.UNREADABLE: Word(
        "Another version's definition took it, and this version cannot read it.",
        ("Mend its fields as the message says, by kubectl.",),
    ),
    Reason.INVALID_SCHEMA: Word(
        "The inputSchema of the type cannot be used.",
        ("Ask whoever wrote the type to mend it as the message says.",),
    ),
    Reason.ACTIVE: Word("It starts runs when they are due."),
    Reason.AS_ASKED: Word(
        "Somebody has paused it.", ("Let it go on: longtask schedule resume {id}",)
    ),
    Reason.MAX_FAILURES: Word(
        "Too many of its runs failed in a row, and it starts no more.",
        (
            "See what went wrong: longtask schedule runs {id}",
            "Once that is mended: longtask schedule reset {id}",
        ),
    ),
    Reason.ENDED: Word("No time is left before its end."),
    Reason.PENDING: Word(
        "LongTask has it, and has not looked at it yet: that takes a moment.",
        ("If it stays so, the operator may be down: tell an administrator.",),
    ),
    Reason.DEFERRED: Word("It joins its queue later, as was asked for."),
    Reason.QUEUED: Word(
        "It waits until its queue has room.",
        (
            "See who is ahead: longtask queue show {queue}",
            "Let it go first: longtask priority {id} 100",
        ),
    ),
    Reason.STARTING: Word(
        "Its container is being started: the image comes, then the program begins."
    ),
    Reason.RUNNING: Word("Its program runs.", ("See what it writes: longtask logs -f {id}",)),
    Reason.RETRYING: Word(
        "An attempt has failed; another one follows by itself.",
        ("See how it failed: longtask logs {id}",),
    ),
    Reason.COMPLETED: Word("It succeeded.", ("See what it brought: longtask result {id}",)),
    Reason.PROGRAM_FAILED: Word(
        "Its program ended with an error of its own.", (f"See what it wrote: {_LOG}",)
    ),
    Reason.TRY_AGAIN: Word(
        "Its program says that another attempt may help, and none is left.",
        (f"Try again: {_OUT_OF}", "Or allow more attempts: longtask submit --attempts N"),
    ),
    Reason.NO_TASK: Word(
        "Its pod was started ahead, and its program ended before it got the task.",
        (f"See what it wrote: {_LOG}", f"Try again: {_OUT_OF}"),
    ),
    Reason.PERMANENT_FAILURE: Word(
        "Its program says that no further attempt can help.",
        (f"See what it wrote: {_LOG}", f"Mend the input, then: {_OUT_OF} KEY=VALUE"),
    ),
    Reason.INVALID_RESULT: Word(
        "Its program succeeded, and its result cannot be kept as JSON: a number beyond 64 bits, or"
        " too deep a nesting.",
        ("Let it write large numbers as text.",),
    ),
    Reason.TASK_NOT_FOUND: Word(
        "The image has no task of that name.",
        ("Compare the type's task with the names in the image's entry points longtask.tasks.",),
    ),
    Reason.TASK_NOT_LOADABLE: Word(
        "The task's code in the image cannot be loaded.", (f"See the error: {_LOG}",)
    ),
    Reason.RESULT_TOO_LARGE: Word(
        "Its result does not fit where results are kept.",
        ("Let it put the data elsewhere, and return where it is.",),
    ),
    Reason.RESULT_NOT_DELIVERED: Word(
        "Nobody took its result: the API was away for ten minutes.", (f"Try again: {_OUT_OF}",)
    ),
    Reason.OOM_KILLED: Word(
        "Its program used more memory than it may.",
        ("Give it more: resources.limits.memory in the order or the type.", f"Then: {_OUT_OF}"),
    ),
    Reason.EVICTED: Word(
        "Its pod used more of the node than its share, mostly disk, and was put out.",
        ("Give it more: resources.limits.ephemeral-storage.", f"Then: {_OUT_OF}"),
    ),
    Reason.DISRUPTED: Word(
        "Its pod was lost with its node, or gave way to others, too often.",
        (f"It is not the program's fault: {_OUT_OF}",),
    ),
    Reason.FILES_NOT_FETCHED: Word(
        "A result that a step takes as a file could not be fetched.",
        ("Go on where it failed: longtask retry {id} --from-failed",),
    ),
    Reason.STEP_FAILED: Word(
        "One of its steps failed.",
        (
            "See which one, and why: longtask get {id}",
            "Go on where it failed: longtask retry {id} --from-failed",
        ),
    ),
    Reason.ITEMS_FAILED: Word(
        "More items of a step failed than may fail.",
        (
            "See which, and why: longtask get {id}",
            "Go on where it failed: longtask retry {id} --from-failed",
        ),
    ),
    Reason.NOT_TAKEN: Word(
        "The step was left out: its condition was false, or the end came first."
    ),
    Reason.CANCELLED: Word("Somebody asked for its end.", (f"Do it all the same: {_OUT_OF}",)),
    Reason.QUEUE_TIMEOUT: Word(
        "It waited for its queue longer than it may.",
        ("See who is ahead: longtask queue show {queue}", f"Try again: {_OUT_OF} --priority 100"),
    ),
    Reason.START_TIMEOUT: Word(
        "Its container did not start in time.",
        ("Is the image's name right, and may the cluster fetch it?", f"Then: {_OUT_OF}"),
    ),
    Reason.RUN_TIMEOUT: Word(
        "Its program ran longer than it may.",
        (
            "Allow more: timeouts.runSeconds in the order or the type.",
            f"See how far it came: {_LOG}",
        ),
    ),
    Reason.HEARTBEAT_TIMEOUT: Word(
        "Its program said nothing of its progress for too long.",
        (f"See what it did last: {_LOG}", "Or allow more: timeouts.heartbeatSeconds."),
    ),
    Reason.TOTAL_TIMEOUT: Word(
        "It took longer in all than it may.",
        ("Allow more: timeouts.totalSeconds in the order or the type.",),
    ),
    Reason.JOB_LOST: Word(
        "Its pod vanished before its outcome was read; perhaps somebody deleted it.",
        (f"Try again: {_OUT_OF}",),
    ),
    Reason.JOB_REFUSED: Word(
        "Kubernetes refuses to start it: a policy or a quota of the cluster says no.",
        ("The message says which one: ask an administrator.",),
    ),
    Reason.NAME_CONFLICT: Word(
        "Something else in the cluster has the name that it needs.",
        (f"Give it another name: {_OUT_OF} --name OTHER",),
    ),
    Reason.NO_CALLBACK: Word("It asks for no callback."),
    Reason.NOT_DUE: Word("There is nothing to call back about yet."),
    Reason.DELIVERING: Word(
        "The callback is on its way.", ("See each try: longtask callbacks {id}",)
    ),
    Reason.DELIVERED: Word("The receiver took the callback."),
    Reason.EXHAUSTED: Word(
        "The receiver never took the callback.",
        ("See each try: longtask callbacks {id}", "Once it is mended: longtask redeliver {id}"),
    ),
    Reason.GONE: Word(
        "The receiver says that it wants no more callbacks (410).",
        ("If that was a mistake: longtask redeliver {id}",),
    ),
    Reason.ADDRESS_REFUSED: Word(
        "The callback's host leads to an address that may not be called.",
        ("Take a public address, or ask an administrator to allow this one.",),
    ),
    Reason.SECRET_UNUSABLE: Word(
        "The callback cannot be signed: its Secret holds no key that can.",
        ("Mend the Secret as the message says, then: longtask redeliver {id}",),
    ),
    Reason.AS_EXPECTED: Word("Nothing is wrong."),
    Reason.POD_CANNOT_START: Word(
        "Its container cannot start.",
        ("Mend what is said above: the image's name, its Secret, or too large a request.",),
    ),
    Reason.POD_NOT_CREATED: Word(
        "The cluster refuses its pod: a quota is full, or a policy says no.",
        ("Ask an administrator of the cluster.",),
    ),
    Reason.QUEUE_NOT_FOUND: Word(
        "There is no queue of that name.",
        ("See which there are: longtask queue list", "Cancel it: longtask cancel {id}"),
    ),
    Reason.NODE_LOST: Word(
        "The node that it runs on does not answer.",
        ("It goes on when the node comes back; else it is started elsewhere.",),
    ),
    Reason.NO_HEARTBEAT: Word(
        "Its program reported progress before, and has fallen silent.",
        ("See what it does: longtask logs -f {id}", "If it hangs: longtask cancel {id}"),
    ),
}


#: How an attempt of a type that keeps warm pods began.
STARTS: Final[Mapping[v1alpha1.Start | None, str]] = {
    v1alpha1.Start.WARM: "got a pod that was started ahead",
    v1alpha1.Start.NONE_IDLE: "started cold: no pod of its type waited just then",
    v1alpha1.Start.OWN_RESOURCES: "started cold: it asks for resources of its own",
    v1alpha1.Start.WARM_LOST: "started cold: the pod that was started ahead for it was lost",
    v1alpha1.Start.TAKES_FILES: "started cold: it takes results as files",
    v1alpha1.Start.INPUT_AWAY: "started cold: what it takes could not be read just then",
}

_OF_SCHEDULES: Final = frozenset(
    {
        Reason.INVALID_SCHEDULE,
        Reason.INVALID_TEMPLATE,
        Reason.AS_ASKED,
        Reason.MAX_FAILURES,
        Reason.ENDED,
    }
)


class Explanation(v1alpha1.Model):
    """Why a task stands where it stands, and what to do next."""

    id: str
    """The task's id."""

    phase: Phase
    """Where it stands."""

    reason: str | None
    """Why, in one word of LongTask's."""

    means: str | None
    """What that word means."""

    details: list[str]
    """What is known besides."""

    helps: list[str]
    """What to do next."""

    def lines(self) -> list[str]:
        """Return it for people."""
        lines = [f"{self.id} is {self.phase}" + (f" ({self.reason})." if self.reason else ".")]
        lines += [self.means] if self.means else []
        return [*lines, *self.details, *(f"→ {step}" for step in self.helps)]


def of(task: models.TaskView, now: datetime) -> Explanation:
    """Return why a task stands where it stands, and what to do next."""
    reason = _reason(task)
    word = WORDS.get(reason) if reason is not None else None
    known = {"id": task.id, "type": task.type or "", "queue": task.queue or "default"}
    return Explanation(
        id=task.id,
        phase=task.phase,
        reason=reason,
        means=word.means if word is not None else None,
        details=_details(task, now),
        helps=[step.format(**known) for step in word.helps] if word is not None else [],
    )


def state_of_schedule(one: models.ScheduleView) -> str:
    """Return whether a schedule starts runs, and why not, in one word or two."""
    known = {"AsAsked": "paused", "MaxFailures": "stopped", "Ended": "ended", None: "new"}
    return known.get(one.reason, "open" if one.reason == "Active" else one.reason or "")


def of_schedule(schedule: models.ScheduleView) -> list[str]:
    """Return why a schedule starts no runs, and below it what to do next; nothing if it does."""
    reason = _reason(schedule)
    word = WORDS.get(reason) if reason is not None else None
    if word is None or reason is Reason.ACTIVE:
        return []
    # What helps a task helps no schedule: its template is what is to be mended.
    helps = word.helps if reason in _OF_SCHEDULES else WORDS[Reason.INVALID_TEMPLATE].helps
    return [word.means, *(f"→ {step.format(id=schedule.name)}" for step in helps)]


def _reason(shown: models.TaskView | models.ScheduleView) -> Reason | None:
    try:
        return Reason(shown.reason) if shown.reason else None
    except ValueError:
        return None  # a newer server's


def _start_of(task: models.TaskView) -> v1alpha1.Start | None:
    """Return how the last attempt began, if its type keeps warm pods."""
    return task.attempts[-1].start if task.attempts else None


def _cold(step: v1alpha1.StepStatus) -> Iterator[str]:
    """Yield how many programs of a step started cold though its type keeps warm pods, and why."""
    starts = collections.Counter(run.start for run in step.children or (step,))
    for start, number in starts.items():
        if start not in (None, v1alpha1.Start.WARM) and start in STARTS:
            which = "" if step.items is None else f", {number} of {step.items}"
            yield f"Step {step.name}{which}: {STARTS[start]}."


def _details(task: models.TaskView, now: datetime) -> list[str]:
    """Return what is known besides: the message, the place, the steps that failed, the callback."""
    told = []
    if task.waiting:
        told.append(f"It {task.waiting}.")
    if task.phase.is_terminal or task.phase is Phase.RETRYING:
        told += [task.message] if task.message else []
    if task.phase is Phase.RETRYING and task.retry_at is not None:
        told.append(f"The next attempt joins the queue {spans.until(task.retry_at, now)}.")
    if (began := STARTS.get(_start_of(task))) is not None:
        told.append(f"It {began}.")
    if (start := spans.estimate(task.estimated_start, now)) is not None:
        told.append(f"It may start {start}.")
    for step in task.steps:
        if step.phase is v1alpha1.StepPhase.FAILED:
            why = ": ".join(filter(None, (step.reason, step.message)))
            told.append(f"Step {step.name} failed" + (f": {why}" if why else "."))
        elif step.stalled:
            why = ": ".join(filter(None, (step.stalled, step.waiting)))
            told.append(f"Step {step.name} cannot go on: {why}")
        told += _cold(step)
    sent = task.callback
    if sent is not None and sent.state is v1alpha1.CallbackState.EXHAUSTED:
        told.append(f"Its callback was given up: longtask callbacks {task.id}")
    return told
