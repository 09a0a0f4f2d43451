"""The runs of a schedule: what each is made of, how it ended, which are asked for by hand. Pure."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import references
from longtask_crds.schedule import times
from longtask_crds.v1alpha1 import ConditionType, Phase, conditions

#: What `{"$from": "run#/…"}` may speak of.
SCHEDULED_TIME, NUMBER, LAST_RESULT = "scheduledTime", "number", "lastResult"
_FACTS = (SCHEDULED_TIME, NUMBER, LAST_RESULT)
#: A place in its input that no task has.
_NOWHERE = f"{references.INPUT}#/{names.GROUP}~1nowhere"
#: More are asked for in several requests.
MOST_ASKED = 100
#: So many may be asked for and not begun yet: a request's, and as many from before.
MOST_WAITING = 2 * MOST_ASKED
#: How long a run stays if nothing else ends it: it goes by the schedule's history limits.
KEPT_SECONDS = 31_536_000
#: What is said of a run whose task somebody deleted: it had no end.
DELETED = "deleted"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


# --- what a run is made of ---


def task_of(
    schedule: v1alpha1.LongTaskSchedule, at: datetime, *, number: int, last_result: Any = None
) -> dict[str, Any]:
    """Return the task to create for the run that is due at a time.

    Args:
        schedule: The schedule.
        at: The time.
        number: Which run of the schedule it is.
        last_result: What the last run that succeeded brought; None if there is none.
    """
    template = schedule.spec.task_template
    facts = {SCHEDULED_TIME: text_of(at), NUMBER: number, LAST_RESULT: last_result}
    spec = filled_in(template.spec, facts)
    if spec.ttl_seconds_after_finished is None:
        spec = spec.model_copy(update={"ttl_seconds_after_finished": KEPT_SECONDS})
    meta = schedule.metadata
    owner = meta.labels.get(names.OWNER_LABEL)
    of_owner = {} if owner is None else {names.OWNER_LABEL: owner}
    named = meta.annotations.get(names.OWNER_NAME_ANNOTATION)
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {
            "name": names.run_name(meta.name, at),
            "namespace": meta.namespace,
            "labels": own_labels(template) | of_owner | {names.SCHEDULE_LABEL: meta.name},
            "annotations": {
                names.SCHEDULED_AT_ANNOTATION: text_of(at),
                names.RUN_NUMBER_ANNOTATION: str(number),
                **({} if named is None else {names.OWNER_NAME_ANNOTATION: named}),
            },
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": schedule.kind,
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec.to_json(),
    }


def own_labels(template: v1alpha1.TaskTemplate) -> dict[str, str]:
    """Return the labels of a template, but for those that are LongTask's own to give."""
    given = template.labels or {}
    return {key: text for key, text in given.items() if not key.startswith(f"{names.GROUP}/")}


def filled_in(spec: v1alpha1.LongTaskSpec, facts: dict[str, Any]) -> v1alpha1.LongTaskSpec:
    """Return a template's spec with what it takes from its run in place."""

    def known(reference: references.Reference) -> Any:
        try:
            return references.part(facts, reference)
        except references.Missing:
            return reference.default

    return replaced(spec, known, in_steps=lambda reference: _verbatim(known(reference)))


def _verbatim(value: Any) -> Any:
    """Return what stands for a value where references are filled in once more.

    What a run has brought may look like one, and be a stranger's words: it is no word of the
    template's, and says nothing of what its steps are given.
    """
    if not any(references.found(value)):
        return value
    return {references.FROM: _NOWHERE, references.DEFAULT: value}


def replaced(
    spec: v1alpha1.LongTaskSpec, by: references.LookUp, in_steps: references.LookUp | None = None
) -> v1alpha1.LongTaskSpec:
    """Return a template's spec with each reference to its run replaced by something.

    Args:
        spec: The spec.
        by: Returns what stands in its place.
        in_steps: The same for the steps and the output; as `by` if absent.
    """

    def of(value: Any, by: references.LookUp) -> Any:
        if (reference := run_reference(value)) is not None:
            return by(reference)
        if isinstance(value, dict):
            return {key: of(item, by) for key, item in value.items()}
        return [of(item, by) for item in value] if isinstance(value, list) else value

    inside = in_steps or by
    steps = [
        step.model_copy(
            update={"input": of(step.input, inside), "for_each": of(step.for_each, inside)}
        )
        for step in spec.steps or ()
    ]
    return spec.model_copy(
        update={
            "input": of(spec.input, by),
            "output": of(spec.output, inside),
            "steps": steps or spec.steps,
        }
    )


def taken(spec: v1alpha1.LongTaskSpec) -> Iterator[tuple[references.Path, Any]]:
    """Yield each object in a template's spec that looks like a reference to its run, and where."""
    for path, value in (
        (("input",), spec.input),
        (("output",), spec.output),
        *(
            (("steps", index, field), part)
            for index, step in enumerate(spec.steps or ())
            for field, part in (("input", step.input), ("forEach", step.for_each))
        ),
    ):
        yield from ((place, one) for place, one in references.found(value, path) if is_ours(one))


def takes_last_result(spec: v1alpha1.LongTaskSpec) -> bool:
    """Tell whether a template's runs are told what the last one brought."""
    found = (run_reference(value) for _, value in taken(spec))
    return any(one is not None and one.path[:1] in ((), (LAST_RESULT,)) for one in found)


def is_ours(value: Any) -> bool:
    """Tell whether a JSON value looks like a reference to a run; others are left as they are."""
    text = value.get(references.FROM) if isinstance(value, dict) else None
    return isinstance(text, str) and text.partition("#")[0] == references.RUN


def run_reference(value: Any) -> references.Reference | None:
    """Return the reference to a run that a JSON value is, or None: also if it is a broken one."""
    try:
        return references.parse(value) if is_ours(value) else None
    except references.Malformed:
        return None


def flaw_of(value: Any) -> str | None:
    """Return what is wrong with a reference to a run, or None."""
    try:
        reference = references.parse(value)
    except references.Malformed as error:
        return str(error)
    if reference is None or not reference.path or reference.path[0] in _FACTS:
        return None
    return f"a run knows its {', '.join(_FACTS)}"


# --- how it ended ---


def error_of(task: v1alpha1.LongTask) -> str | None:
    """Return why a run failed or never ran; None if it succeeded, or is not over."""
    if not task.is_finished or task.phase is Phase.SUCCEEDED:
        return None
    succeeded = conditions.find(task.status.conditions, ConditionType.SUCCEEDED)
    if succeeded is None:
        return str(task.phase)
    return brief(f"{succeeded.reason}: {succeeded.message}")


def brief(text: str) -> str:
    """Return why a run failed, as long as a schedule remembers it."""
    return text.rstrip(": ")[: names.BRIEF_MAX]


def last_ended(status: v1alpha1.LongTaskScheduleStatus) -> v1alpha1.ScheduledRun | None:
    """Return the run that has ended last, of those that the schedule remembers."""
    ended = (run for run in status.runs or () if run.phase or run.error not in (None, DELETED))
    return max(
        ended, key=lambda run: (run.finished_at or run.scheduled_at, run.number), default=None
    )


# --- what is asked for by hand ---


class TooManyAsked(Exception):
    """So many runs are asked for already."""


def asked(schedule: v1alpha1.LongTaskSchedule) -> tuple[datetime, ...]:
    """Return the times for which somebody asks a run each, in order.

    What is no time, or one that no run can be named by, is left out: the annotation is anybody's to
    write.
    """
    text = schedule.metadata.annotations.get(names.RUN_AT_ANNOTATION, "")
    found = (read_time(word.strip()) for word in text.split(",", MOST_WAITING)[:MOST_WAITING])
    return tuple(sorted({at for at in found if at is not None and times.FIRST <= at <= times.LAST}))


def asking_for(schedule: v1alpha1.LongTaskSchedule, wanted: Iterable[datetime]) -> dict[str, Any]:
    """Return the patch that asks for a run of each of these times, too.

    Raises:
        TooManyAsked: With those that are asked for already these are too many.
    """
    all_told = {*asked(schedule), *wanted}
    if len(all_told) > MOST_WAITING:
        raise TooManyAsked("So many runs are asked for already: wait until some began.")
    return {"metadata": {"annotations": {names.RUN_AT_ANNOTATION: asking(all_told)}}}


def asking(wanted: Iterable[datetime]) -> str | None:
    """Return the annotation that asks for runs of these times; None where there is none to ask."""
    return ",".join(text_of(at) for at in sorted(set(wanted))) or None


def text_of(at: datetime) -> str:
    """Return a time as RFC 3339 writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(name: str) -> datetime | None:
    """Return the time that stands in the name of a run, or None if it is no run's."""
    ending = name.rpartition("-")[2]
    if not re.fullmatch("[0-9a-f]{8}", ending):
        return None
    return datetime.fromtimestamp(int(ending, 16), tz=UTC)


def read_time(text: str) -> datetime | None:
    """Return the time that `text_of` has written, or None if it is none."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # there is no such day
        return None
