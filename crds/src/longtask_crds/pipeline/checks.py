"""What keeps a pipeline from ever working: refused at the door, and again behind it."""

from collections.abc import Iterator

from longtask_crds import v1alpha1
from longtask_crds.pipeline import conditions, graph, references

#: A place in the spec, and what is wrong there.
Flaw = tuple[references.Path, str]

#: Each may have to be fetched by itself.
_MOST_REFERENCES = 100
#: In a template they are filled in before there is a task.
_NO_RUN = "only the template of a schedule knows a run"


def flaws(spec: v1alpha1.LongTaskSpec) -> Iterator[Flaw]:
    """Yield what is wrong with the steps of a task by themselves, and where."""
    steps = spec.steps or []
    if not steps:
        for field, value in (("maxParallel", spec.max_parallel), ("output", spec.output)):
            if value is not None:
                yield (field,), "only a task with steps has it"
        return
    of = graph.needs(steps)
    by_name = {step.name: step for step in steps}
    if len(by_name) < len(steps):
        yield from _doubles(steps)
        return
    if all(step.finally_ for step in steps):
        yield ("steps",), "at least one step must not be marked finally"
    for index, step in enumerate(steps):
        for place, flaw in (*_of_needs(step, by_name), *_of_items(step)):
            yield ("steps", index, *place), flaw
    if round_about := graph.circle(of):
        first = next(i for i, step in enumerate(steps) if step.name == round_about[0])
        way = " → ".join((*round_about, round_about[0]))
        yield ("steps", first, "needs"), f"the steps need each other: {way}"
        return
    for index, step in enumerate(steps):
        for place, flaw in _of_references(step, by_name, of):
            yield ("steps", index, *place), flaw
    for place, looks in references.found(spec.output):
        yield from _of_output(("output", *place), looks, by_name)


def _doubles(steps: list[v1alpha1.Step]) -> Iterator[Flaw]:
    seen: set[str] = set()
    for index, step in enumerate(steps):
        if step.name in seen:
            yield ("steps", index, "name"), "another step has that name"
        seen.add(step.name)


def _of_needs(step: v1alpha1.Step, by_name: dict[str, v1alpha1.Step]) -> Iterator[Flaw]:
    for index, name in enumerate(step.needs or ()):
        needed = by_name.get(name)
        if needed is None:
            yield ("needs", index), f"there is no step {name}"
        elif needed.finally_ and not step.finally_:
            yield ("needs", index), f"the step {name} is marked finally: it comes after this one"


def _of_items(step: v1alpha1.Step) -> Iterator[Flaw]:
    if step.for_each is None:
        for field, value in (
            ("maxParallel", step.max_parallel),
            ("minSuccessful", step.min_successful),
        ):
            if value is not None:
                yield (field,), "only a step with forEach has it"
        return
    if isinstance(step.for_each, list):
        if len(step.for_each) > 100:
            yield ("forEach",), "more than 100 items"
        elif len(step.for_each) < (step.min_successful or 0):
            yield ("minSuccessful",), "there are fewer items"
    elif not (isinstance(step.for_each, dict) and references.FROM in step.for_each):
        yield ("forEach",), 'a list, or {"$from": …} for one'


def _of_references(
    step: v1alpha1.Step, by_name: dict[str, v1alpha1.Step], of: graph.Needs
) -> Iterator[Flaw]:
    earlier = graph.before(step.name, of)
    if step.finally_:
        earlier |= {name for name, other in by_name.items() if not other.finally_}
    if sum(1 for _ in references.found(step.input)) > _MOST_REFERENCES:
        yield ("input",), f"more than {_MOST_REFERENCES} references"
        return
    for field, value in (("input", step.input), ("forEach", step.for_each)):
        for place, looks in references.found(value):
            try:
                reference = references.parse(looks)
            except references.Malformed as error:
                yield (field, *place), str(error)
                continue
            if reference is not None:
                told = _of_reference(reference, step, field, by_name, earlier)
                if told is not None:
                    yield (field, *place), told
    if step.when is not None:
        try:
            conditions.check(step.when)
        except conditions.Unusable as error:
            yield ("when",), str(error)
            return
        for name in sorted(conditions.steps_in(step.when) - earlier):
            yield ("when",), _not_earlier(name, by_name)


def _of_reference(
    reference: references.Reference,
    step: v1alpha1.Step,
    field: str,
    by_name: dict[str, v1alpha1.Step],
    earlier: frozenset[str],
) -> str | None:
    """Return what is wrong with a reference in a step, or None."""
    if reference.source == references.RUN:
        return _NO_RUN
    if reference.source == references.ITEM and (step.for_each is None or field == "forEach"):
        return "only the input of a step with forEach has an item"
    if reference.source == references.OUTCOME and not step.finally_:
        return "only a step marked finally knows the outcome"
    if reference.as_file and field == "forEach":
        return "a list is needed, and $ref gives a file"
    name = reference.step
    if name is None:
        return None
    if name not in earlier:
        return _not_earlier(name, by_name)
    if step.finally_ and not by_name[name].finally_ and not reference.has_default:
        return f"the step {name} may be skipped by then: give a default" + (
            ", which $ref cannot have" if reference.as_file else ""
        )
    return None


def _of_output(
    place: references.Path, looks: object, by_name: dict[str, v1alpha1.Step]
) -> Iterator[Flaw]:
    try:
        reference = references.parse(looks)
    except references.Malformed as error:
        yield place, str(error)
        return
    if reference is None:
        return
    if reference.source == references.RUN:
        yield place, _NO_RUN
    elif reference.source in (references.ITEM, references.OUTCOME):
        yield place, f"the output knows no {reference.source}"
    elif reference.as_file:
        yield place, "only a step's input takes files"
    elif reference.step is not None and reference.step not in by_name:
        yield place, f"there is no step {reference.step}"


def _not_earlier(name: str, by_name: dict[str, v1alpha1.Step]) -> str:
    known = name in by_name
    return f"the step {name} does not come before" if known else f"there is no step {name}"
