"""What keeps a schedule from ever starting a run: refused at the door, and again behind it."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from longtask_crds import acceptance, address_guard, effective, json_values, names, v1alpha1
from longtask_crds.acceptance import Violation
from longtask_crds.pipeline import references
from longtask_crds.schedule import runs, times
from longtask_crds.v1alpha1 import Reason

#: Known to every step, and to nobody before a task begins: so a template is judged without it.
_UNKNOWN = {references.FROM: f"{references.INPUT}#"}
_TEMPLATE = ("taskTemplate", "spec")


def findings(
    schedule: v1alpha1.LongTaskSchedule,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    guard: address_guard.Guard,
    *,
    now: datetime,
) -> list[Violation]:
    """Return what is wrong with a schedule; the pointers start at its spec.

    Args:
        schedule: The schedule; one that is not stored yet has a creation time all the same.
        types: The specs of the types that its template names, as far as there are such.
        installation: What the installation allows.
        guard: Where callbacks may go.
        now: The time.
    """
    found = list(_of_times(schedule))
    template = schedule.spec.task_template
    try:
        found += _of_template(template)
        found += _as_a_task(template.spec, types, installation, guard, now)
    except RecursionError:
        pointer = json_values.pointer(*_TEMPLATE)
        found.append(Violation(pointer, "nested too deeply", Reason.INVALID_TEMPLATE))
    return found[: acceptance.MAX_FINDINGS]


def _as_a_task(
    spec: v1alpha1.LongTaskSpec,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    guard: address_guard.Guard,
    now: datetime,
) -> Iterator[Violation]:
    """Yield what would be wrong with each task of a template."""
    judged = runs.replaced(spec, lambda _: _UNKNOWN)
    if any(path[0] == "input" for path, _ in runs.taken(spec)):
        # What it will be is not known, so no schema can say anything of it.
        types = {name: of.model_copy(update={"input_schema": None}) for name, of in types.items()}
    for violation in acceptance.violations(judged, types, installation, guard, created_at=now):
        pointer = json_values.pointer(*_TEMPLATE) + violation.pointer
        yield Violation(pointer, violation.message, violation.reason)


def _of_times(schedule: v1alpha1.LongTaskSchedule) -> Iterator[Violation]:
    if len(schedule.metadata.name) > names.SCHEDULE_NAME_MAX:
        message = f"at most {names.SCHEDULE_NAME_MAX} characters: a run's name is longer"
        yield Violation("/name", message, Reason.INVALID_SCHEDULE)
    try:
        times.Times.of(schedule)
    except times.Unreadable as error:
        pointer = json_values.pointer(*error.field)
        yield Violation(pointer, error.message[: names.MESSAGE_MAX], Reason.INVALID_SCHEDULE)


def _of_template(template: v1alpha1.TaskTemplate) -> Iterator[Violation]:
    spec = template.spec
    for label in (template.labels or {}).keys() - runs.own_labels(template).keys():
        pointer = json_values.pointer("taskTemplate", "labels", label)
        message = f"labels of {names.GROUP} are LongTask's own to give"
        yield Violation(pointer, message, Reason.INVALID_TEMPLATE)
    flaws: list[tuple[references.Path, str]] = []
    if spec.cancel:
        flaws.append((("cancel",), "each run would be cancelled at once"))
    if spec.not_before is not None:
        flaws.append((("notBefore",), "a run begins when it is due"))
    flaws += ((path, json_values.TOO_DEEP) for path in effective.too_deep(spec))
    flaws += ((path, flaw) for path, one in runs.taken(spec) if (flaw := runs.flaw_of(one)))
    for path, flaw in flaws:
        yield Violation(json_values.pointer(*_TEMPLATE, *path), flaw, Reason.INVALID_TEMPLATE)
    for breach in acceptance.breaches(spec):
        pointer = json_values.pointer(*_TEMPLATE) + breach.pointer
        yield Violation(pointer, breach.message, Reason.INVALID_TEMPLATE)
