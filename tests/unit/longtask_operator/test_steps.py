"""Pipelines of any shape, run by any luck: what must hold of each of them."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from longtask_crds import v1alpha1
from longtask_crds.pipeline import checks, graph, runs, standing
from longtask_crds.testing import NOW, a_task
from longtask_crds.v1alpha1 import Phase, StepPhase
from longtask_operator.rules import steps

OPEN = {StepPhase.STARTING, StepPhase.RUNNING, StepPhase.RETRYING}


@st.composite
def pipelines(draw: st.DrawFn) -> v1alpha1.LongTask:
    """Return a pipeline that has its place: any needs without a circle, some fan-out, some luck."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    order = draw(st.permutations(names))
    made: list[dict[str, Any]] = []
    for place, name in enumerate(order):
        step: dict[str, Any] = {"name": name, "container": {"image": "busybox"}}
        earlier = order[:place]
        step["needs"] = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        if draw(st.booleans()):
            step["continueOnFailure"] = True
        if draw(st.integers(0, 3)) == 0:
            items = draw(st.lists(st.integers(), max_size=6))
            step["forEach"] = items
            step["maxParallel"] = draw(st.integers(1, 3))
            if draw(st.booleans()):
                step["minSuccessful"] = draw(st.integers(0, len(items)))
        if draw(st.integers(0, 4)) == 0:
            step["when"] = draw(st.sampled_from(["true", "false", "input.x > 1"]))
        step["weight"] = draw(st.integers(1, 9))
        made.append(step)
    for number in range(draw(st.integers(0, 2))):
        last = {"name": f"f{number}", "container": {"image": "busybox"}, "finally": True}
        made.append(last)
    # In any order: what comes before whom is said by the needs.
    shuffled = draw(st.permutations(made))
    task = a_task(steps=shuffled, maxParallel=draw(st.integers(1, 4)), input={"x": 1})
    begun = task.status.model_copy(update={"steps": steps.begun(task, NOW), "attempt": 1})
    return task.model_copy(update={"status": begun})


def with_status(task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus) -> v1alpha1.LongTask:
    return task.model_copy(update={"status": status})


class Course:
    """One course of a pipeline: its programs end in any order, well or badly."""

    def __init__(self, task: v1alpha1.LongTask, luck: random.Random, cancels: bool) -> None:
        self.task = task
        self.luck = luck
        self.cancels_at = luck.randint(0, 6) if cancels else -1
        self.begun: list[str] = []
        self.percent = 0

    def run(self) -> v1alpha1.LongTask:
        for turn in range(200):
            if turn == self.cancels_at:
                spec = self.task.spec.model_copy(update={"cancel": True})
                self.task = self.task.model_copy(update={"spec": spec})
            before = self.task
            self.task = with_status(before, steps.advanced(before, {}, now=NOW))
            self.look(before)
            if steps.is_over(self.task):
                return self.task
            self.end_one()
        raise AssertionError("it does not end")

    def end_one(self) -> None:
        """End one of the programs that run, as a container does."""
        name = self.luck.choice([run.name for run in runs.of(self.task) if not run.is_over])
        step = runs.step_named(self.task.spec, runs.split(name)[0])
        cut = runs.is_cut(self.task, step) or steps.is_given_up(self.task, name)
        phase = StepPhase.CANCELLED
        if not cut:
            phase = self.luck.choice([StepPhase.SUCCEEDED, StepPhase.SUCCEEDED, StepPhase.FAILED])
        values = {"phase": phase, "finished_at": NOW, "result": v1alpha1.Result(value=name)}
        self.task = with_status(self.task, steps.put(self.task.status, name, values))

    def look(self, before: v1alpha1.LongTask) -> None:
        """Check what no single step may do."""
        of = graph.needs(self.task.spec.steps or ())
        over = {s.name for s in self.task.status.steps or () if s.phase and s.phase.is_terminal}
        known = {run.name for run in runs.of(before)}
        for run in runs.of(self.task):
            step_name, _ = runs.split(run.name)
            step = runs.step_named(self.task.spec, step_name)
            if run.name not in known:
                assert run.name not in self.begun, "begun twice"
                self.begun.append(run.name)
                assert over.issuperset(of[step_name]), "begun before what it needs"
                if step.finally_:
                    main = {s.name for s in self.task.spec.steps or () if not s.finally_}
                    assert over >= main, "begun before the others were over"
        running = [s for s in self.task.status.steps or () if s.phase in OPEN]
        assert len(running) <= (self.task.spec.max_parallel or steps.DEFAULT_PARALLEL)
        for status in running:
            step = runs.step_named(self.task.spec, status.name)
            items = [child for child in status.children or () if child.phase in OPEN]
            assert len(items) <= (step.max_parallel or steps.DEFAULT_PARALLEL)
        told = standing.told(
            self.task.spec, self.task.status.steps or (), self.task.status.progress
        )
        assert (told.percent or 0) >= self.percent, "the percentage fell"
        self.percent = told.percent or 0
        status = self.task.status.model_copy(update={"progress": told})
        self.task = with_status(self.task, status)


@given(pipelines(), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=150)
def test_every_pipeline_ends_as_its_steps_say(
    task: v1alpha1.LongTask, luck: random.Random, cancels: bool
) -> None:
    assert list(checks.flaws(task.spec)) == []
    ended = Course(task, luck, cancels).run()
    by_name = {status.name: status for status in ended.status.steps or ()}
    for step in ended.spec.steps or ():
        status = by_name[step.name]
        if step.finally_:
            assert status.phase in (StepPhase.SUCCEEDED, StepPhase.FAILED), "it always runs"
        if status.phase is StepPhase.SUCCEEDED and step.for_each is not None:
            good = status.succeeded or 0
            assert status.items == len(step.for_each)
            assert good >= (status.items if step.min_successful is None else step.min_successful)
            value = status.result.value if status.result else None
            assert len(value) == status.items
            assert sum(item is not None for item in value) == good
    verdict = steps.verdict(ended)
    failed = standing.failed_first(ended.spec.steps or (), ended.status.steps or ())
    if verdict.phase is Phase.SUCCEEDED:
        assert failed is None
        unfinished = {StepPhase.CANCELLED, StepPhase.FAILED}
        for step in ended.spec.steps or ():
            assert by_name[step.name].phase not in unfinished or step.continue_on_failure
    elif verdict.phase is Phase.CANCELLED:
        assert cancels
    else:
        assert verdict.step is not None


@given(pipelines(), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_what_follows_is_said_at_once(task: v1alpha1.LongTask, luck: random.Random) -> None:
    """A second look at the same state finds nothing new: no write without news."""
    course = Course(task, luck, cancels=False)
    for _ in range(3):
        after = steps.advanced(course.task, {}, now=NOW)
        course.task = with_status(course.task, after)
        assert steps.advanced(course.task, {}, now=NOW) == after
        if steps.is_over(course.task):
            return
        course.end_one()
