"""A pipeline from its first write to its last, over a Kubernetes in memory."""

import json
from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, a_task
from longtask_crds.v1alpha1 import Phase, Reason, StepPhase
from longtask_operator.testing import URL, Operator

IMAGE = {"container": {"image": "busybox"}}


def step(name: str, **fields: Any) -> dict[str, Any]:
    """Return a step that runs a container."""
    return {"name": name, **IMAGE, **fields}


class Pipeline:
    """A pipeline whose programs are the test's own."""

    def __init__(self, *steps: dict[str, Any], **spec: Any) -> None:
        self.operator = Operator()
        self.task = a_task(steps=list(steps), **spec)

    async def submit(self) -> None:
        await self.operator.submit(self.task)
        await self.operator.look()

    @property
    def status(self) -> v1alpha1.LongTaskStatus:
        return self.operator.status()

    def phases(self) -> dict[str, str]:
        """Return where each step stands."""
        return {one.name: str(one.phase) for one in self.status.steps or ()}

    def jobs(self) -> dict[str, str]:
        """Return the names of the open Jobs, by the program that they run."""
        kubernetes = self.operator.kubernetes
        return {
            raw["metadata"]["labels"][names.STEP_LABEL]: key.name
            for key, raw in kubernetes.objects("jobs").items()
            if "ttlSecondsAfterFinished" not in raw["spec"]
        }

    def input_of(self, run: str) -> Any:
        """Return the input of a program as its pod finds it."""
        key = ObjectKey(NAMESPACE, self.jobs()[run])
        raw = self.operator.kubernetes.objects("jobs")[key]
        text = raw["spec"]["template"]["metadata"]["annotations"]["longtask.dev/input"]
        return json.loads(text)

    async def end(self, run: str, result: Any = None, *, exit_code: int = 0) -> None:
        """Have a program run and end, and the operator look at that."""
        kubernetes = self.operator.kubernetes
        pod = kubernetes.make_pod(self.jobs()[run])
        kubernetes.start_pod(pod)
        message = "" if result is None else json.dumps(result)
        kubernetes.end_pod(pod, exit_code, message)
        await self.look()

    async def look(self) -> float | None:
        await self.operator.hear()
        return await self.operator.look()


async def test_a_chain_takes_what_the_steps_before_brought() -> None:
    pipeline = Pipeline(
        step("fetch", input={"url": {"$from": "input#/url"}}),
        step("convert", input={"rows": {"$from": "steps.fetch#/rows"}}),
        step("report", input={"$from": "steps.convert#"}),
        input={"url": "https://example.com"},
        callback={"url": URL},
    )
    await pipeline.submit()
    assert pipeline.input_of("fetch") == {"url": "https://example.com"}
    assert pipeline.phases() == {"fetch": "Starting", "convert": "Pending", "report": "Pending"}
    await pipeline.end("fetch", {"rows": [1, 2]})
    assert pipeline.input_of("convert") == {"rows": [1, 2]}
    assert pipeline.status.step == "2/3 convert"
    await pipeline.end("convert", {"sum": 3})
    assert pipeline.input_of("report") == {"sum": 3}
    await pipeline.end("report", "done")
    status = pipeline.status
    assert (status.phase, status.step) == (Phase.SUCCEEDED, "3/3")
    assert status.result == v1alpha1.Result(value="done")
    assert pipeline.jobs() == {}
    told = json.loads(pipeline.operator.sender.sent[-1].body)["data"]
    assert [one["phase"] for one in told["steps"]] == ["Succeeded"] * 3


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_step_that_fails(goes_on: bool) -> None:
    pipeline = Pipeline(
        step("a", continueOnFailure=goes_on),
        step("b"),
        step("clean", **{"finally": True}, input={"why": {"$from": "outcome#/reason"}}),
    )
    await pipeline.submit()
    await pipeline.end("a", exit_code=3)
    if goes_on:
        await pipeline.end("b")
    why = Reason.COMPLETED if goes_on else Reason.STEP_FAILED
    assert pipeline.input_of("clean") == {"why": why}
    assert pipeline.phases()["b"] == ("Succeeded" if goes_on else "Skipped")
    await pipeline.end("clean")
    assert pipeline.status.phase is (Phase.SUCCEEDED if goes_on else Phase.FAILED)
    assert pipeline.status.outcome is not None
    assert pipeline.status.outcome.step == (None if goes_on else "a")


async def test_a_list_fans_out_and_comes_back_in_order() -> None:
    pipeline = Pipeline(
        step("list"),
        step("square", forEach={"$from": "steps.list#/numbers"}, maxParallel=2),
        step("sum", input={"all": {"$from": "steps.square#"}}),
    )
    await pipeline.submit()
    await pipeline.end("list", {"numbers": [1, 2, 3]})
    assert sorted(pipeline.jobs()) == ["square.0", "square.1"]
    assert pipeline.input_of("square.1") == {"item": 2}
    await pipeline.end("square.1", 4)
    await pipeline.end("square.2", 9)
    await pipeline.end("square.0", 1)
    assert pipeline.input_of("sum") == {"all": [1, 4, 9]}
    done = (pipeline.status.steps or [])[1]
    assert (done.phase, done.items, done.succeeded, done.failed) == (StepPhase.SUCCEEDED, 3, 3, 0)
    await pipeline.end("sum", 14)
    assert pipeline.status.phase is Phase.SUCCEEDED


async def test_conditions_decide_which_steps_are_taken() -> None:
    pipeline = Pipeline(
        step("ask"),
        step("yes", when="steps.ask.result.n > 3"),
        step("no", needs=["ask"], when="steps.ask.result.n <= 3"),
        step("end", needs=["yes", "no"], input={"$from": "steps.yes#", "default": "nothing"}),
    )
    await pipeline.submit()
    await pipeline.end("ask", {"n": 2})
    assert pipeline.phases() == {
        "ask": "Succeeded", "yes": "Skipped", "no": "Starting", "end": "Pending",
    }  # fmt: skip
    await pipeline.end("no")
    assert pipeline.input_of("end") == "nothing"


async def test_a_cancelled_pipeline_stops_what_runs_and_cleans_up() -> None:
    pipeline = Pipeline(step("a"), step("b"), step("clean", **{"finally": True}))
    await pipeline.submit()
    kubernetes = pipeline.operator.kubernetes
    pod = kubernetes.make_pod(pipeline.jobs()["a"])
    kubernetes.start_pod(pod)
    await pipeline.look()
    kubernetes.cancel("report")
    await pipeline.look()
    kubernetes.end_pod(pod, 143, "")
    await pipeline.look()
    assert pipeline.phases() == {"a": "Cancelled", "b": "Skipped", "clean": "Starting"}
    await pipeline.end("clean")
    assert pipeline.status.phase is Phase.CANCELLED


async def test_a_step_is_tried_again_by_its_own_retry() -> None:
    pipeline = Pipeline(step("a", retry={"maxAttempts": 2, "backoffSeconds": 10}), step("b"))
    await pipeline.submit()
    await pipeline.end("a", exit_code=1)
    assert pipeline.phases()["a"] == "Retrying"
    first = (pipeline.status.steps or [])[0]
    pipeline.operator.kubernetes.now = first.retry_at or pipeline.operator.kubernetes.now
    await pipeline.look()
    await pipeline.end("a")
    assert (pipeline.status.steps or [])[0].attempt == 2
    assert pipeline.phases() == {"a": "Succeeded", "b": "Starting"}
