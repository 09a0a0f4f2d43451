"""A pipeline from its first write to its last, over a Kubernetes in memory."""

import datetime
import itertools
import json
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_crds import json_values, names, runner_contract, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, NOW, a_task, with_meta
from longtask_crds.v1alpha1 import Phase, Reason, StepPhase
from longtask_operator.rules import steps
from longtask_operator.testing import URL, Operator

IMAGE = {"container": {"image": "busybox"}}


def step(name: str, **fields: Any) -> dict[str, Any]:
    """Return a step that runs a container."""
    return {"name": name, **IMAGE, **fields}


class Pipeline:
    """A pipeline whose programs are the test's own."""

    def __init__(self, *linked: dict[str, Any], **spec: Any) -> None:
        self.operator = Operator()
        self.task = a_task(steps=list(linked), **spec)

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

    async def upload(self, run: str, result: v1alpha1.Result) -> None:
        """Have a step's result recorded as the API does that keeps it."""
        self.operator.kubernetes.bring_result("report", run, result.to_json())
        await self.operator.hear()

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


# --- results that have no place in the resource ---


def large(number: int) -> str:
    """Return a result that fits a pod's last words, of which nine fill the resource."""
    return f"{number}" * 3900


async def test_what_the_resource_has_no_place_for_is_kept_elsewhere() -> None:
    names_of = [f"s{number}" for number in range(10)]
    pipeline = Pipeline(
        *(step(name, needs=[]) for name in names_of),
        step("all", needs=names_of, input=[{"$from": f"steps.{name}#"} for name in names_of]),
        maxParallel=10,
    )
    await pipeline.submit()
    for number, name in enumerate(names_of):
        await pipeline.end(name, large(number))
    results = [one.result for one in (pipeline.status.steps or ())[:10]]
    assert [result.ref is not None for result in results if result] == [False] * 8 + [True] * 2
    assert pipeline.input_of("all") == [large(number) for number in range(10)]


async def test_a_part_of_a_kept_result_is_fetched() -> None:
    pipeline = Pipeline(
        step("big"), step("small", input={"n": {"$from": "steps.big#/n"}}, when="input.x")
    )
    pipeline.task = pipeline.task.model_copy(
        update={"spec": pipeline.task.spec.model_copy(update={"input": {"x": True}})}
    )
    await pipeline.submit()
    kept = pipeline.operator.results.keep(json.dumps({"n": 7, "rest": "x" * 9000}).encode())
    await pipeline.upload("big", kept)
    pipeline.operator.results.is_away = True
    await pipeline.end("big")
    assert pipeline.phases()["small"] == "Starting"
    assert "small" not in pipeline.jobs()
    pipeline.operator.results.is_away = False
    await pipeline.look()
    assert pipeline.input_of("small") == {"n": 7}


@pytest.mark.parametrize(
    ("pointer", "told"),
    [("/nothing", "there is no such part"), ("", "the result is not kept any more")],
)
async def test_what_is_not_there_fails_the_step(pointer: str, told: str) -> None:
    pipeline = Pipeline(step("big"), step("small", input={"$from": f"steps.big#{pointer}"}))
    await pipeline.submit()
    await pipeline.upload("big", pipeline.operator.results.keep(b"[" + b"1," * 5000 + b"1]"))
    if not pointer:
        pipeline.operator.results.forget()
    await pipeline.end("big")
    failed = (pipeline.status.steps or [])[1]
    assert (failed.phase, failed.reason) == (StepPhase.FAILED, Reason.INVALID_INPUT)
    assert told in (failed.message or "")
    assert pipeline.status.phase is Phase.FAILED


async def test_a_long_list_is_made_where_results_are_kept() -> None:
    pipeline = Pipeline(
        step("many", forEach=[1, 2, 3], maxParallel=3),
        step("one", input={"last": {"$from": "steps.many#/2"}}),
    )
    await pipeline.submit()
    for number in range(3):
        await pipeline.end(f"many.{number}", large(number))
    many = (pipeline.status.steps or [])[0]
    assert many.result is not None
    assert many.result.ref is not None
    assert pipeline.input_of("one") == {"last": large(2)}


async def test_a_list_that_nobody_keeps_fails_the_step() -> None:
    pipeline = Pipeline(step("many", forEach=[1, 2]))
    pipeline.operator.results.limit = 100
    await pipeline.submit()
    for number in range(2):
        await pipeline.end(f"many.{number}", large(number))
    assert pipeline.status.phase is Phase.FAILED
    assert (pipeline.status.steps or [])[0].reason == Reason.RESULT_TOO_LARGE


async def test_a_large_output_is_kept_elsewhere() -> None:
    both = {"a": {"$from": "steps.a#"}, "b": {"$from": "steps.b#"}}
    pipeline = Pipeline(step("a"), step("b"), output=both)
    await pipeline.submit()
    await pipeline.end("a", large(1))
    await pipeline.end("b", large(2))
    status = pipeline.status
    assert status.phase is Phase.SUCCEEDED
    assert status.result is not None
    assert status.result.ref is not None


async def test_an_output_of_what_is_not_there_fails_the_task() -> None:
    pipeline = Pipeline(step("a"), output={"$from": "steps.a#/x"})
    await pipeline.submit()
    await pipeline.end("a", {})
    assert pipeline.status.phase is Phase.FAILED
    assert pipeline.status.outcome is not None
    assert pipeline.status.outcome.reason == Reason.INVALID_STEPS


# --- what goes wrong ---


async def test_a_pod_that_was_evicted_costs_no_attempt() -> None:
    pipeline = Pipeline(step("a"), step("b"))
    await pipeline.submit()
    kubernetes = pipeline.operator.kubernetes
    pod = kubernetes.make_pod(pipeline.jobs()["a"])
    kubernetes.start_pod(pod)
    kubernetes.end_pod(pod, 143, disrupted=True)
    await pipeline.look()
    first = (pipeline.status.steps or [])[0]
    assert (first.phase, first.attempt, first.disruptions) == (StepPhase.STARTING, 2, 1)
    await pipeline.end("a")
    await pipeline.end("b")
    assert pipeline.status.phase is Phase.SUCCEEDED


async def test_an_operator_that_begins_anew_goes_on_where_it_was() -> None:
    pipeline = Pipeline(step("a"), step("b", input={"$from": "steps.a#"}))
    await pipeline.submit()
    pipeline.operator.restart()
    await pipeline.look()
    await pipeline.end("a", 1)
    pipeline.operator.restart()
    await pipeline.look()
    assert pipeline.input_of("b") == 1
    await pipeline.end("b", 2)
    assert pipeline.status.result == v1alpha1.Result(value=2)


async def test_a_pipeline_that_takes_too_long_is_ended() -> None:
    pipeline = Pipeline(
        step("a"), step("b"), step("end", **{"finally": True}), timeouts={"totalSeconds": 60}
    )
    await pipeline.submit()
    await pipeline.end("a")
    pipeline.operator.kubernetes.now += datetime.timedelta(seconds=61)
    await pipeline.look()
    assert pipeline.phases() == {"a": "Succeeded", "b": "Cancelled", "end": "Starting"}
    pipeline.operator.kubernetes.now += datetime.timedelta(seconds=600)
    await pipeline.end("end")
    assert pipeline.status.phase is Phase.FAILED
    assert pipeline.status.outcome is not None
    assert pipeline.status.outcome.reason == Reason.TOTAL_TIMEOUT


async def test_enough_items_may_succeed() -> None:
    pipeline = Pipeline(step("some", forEach=[1, 2, 3], minSuccessful=2))
    await pipeline.submit()
    await pipeline.end("some.1", exit_code=1)
    await pipeline.end("some.0", "x")
    await pipeline.end("some.2", "z")
    assert pipeline.status.result == v1alpha1.Result(value=["x", None, "z"])


async def test_too_many_failures_end_the_other_items() -> None:
    pipeline = Pipeline(step("all", forEach=[1, 2, 3], maxParallel=2))
    await pipeline.submit()
    await pipeline.end("all.1", exit_code=1)
    one = (pipeline.status.steps or [])[0]
    assert (one.phase, one.reason) == (StepPhase.FAILED, Reason.ITEMS_FAILED)
    assert "item 1: ProgramFailed" in (one.message or "")
    assert pipeline.jobs() == {}


async def test_succeeded_steps_are_taken_over_from_the_task_before() -> None:
    pipeline = Pipeline(step("a"), step("b", input={"$from": "steps.a#"}))
    told = {"results": {"a": {"value": 5}}, "checkpoints": {"b": {"at": 1}}}
    annotations = {names.REUSE_ANNOTATION: json.dumps(told)}
    pipeline.task = with_meta(pipeline.task, annotations=annotations)
    await pipeline.submit()
    assert sorted(pipeline.jobs()) == ["b"]
    assert pipeline.input_of("b") == 5
    assert (pipeline.status.steps or [])[0].reused
    await pipeline.end("b")
    assert pipeline.status.phase is Phase.SUCCEEDED


async def test_whole_results_come_as_files() -> None:
    pipeline = Pipeline(step("a"), step("b", input={"path": {"$ref": "steps.a"}}))
    await pipeline.submit()
    await pipeline.end("a", [1])
    assert pipeline.input_of("b") == {"path": "/longtask/files/a"}
    key = ObjectKey(NAMESPACE, pipeline.jobs()["b"])
    pod = pipeline.operator.kubernetes.objects("jobs")[key]["spec"]["template"]["spec"]
    (fetching,) = pod["initContainers"]
    assert fetching["command"][-1] == "a"


async def test_a_retry_of_a_step_is_told() -> None:
    pipeline = Pipeline(
        step("a", retry={"maxAttempts": 2}), callback={"url": URL, "events": ["retrying"]}
    )
    await pipeline.submit()
    await pipeline.end("a", exit_code=1)
    told = json.loads(pipeline.operator.sender.sent[-1].body)
    assert (told["type"], told["data"]["step"]) == ("longtask.retrying", "a")
    ((_, reason, message),) = pipeline.operator.kubernetes.warnings
    assert (reason, message.split(":")[0]) == ("Retrying", "step a")


async def test_a_list_that_cannot_be_made_does_not_keep_a_pipeline_from_its_end() -> None:
    pipeline = Pipeline(
        step("many", forEach=[1, 2]), step("last", **{"finally": True}), callback={"url": URL}
    )
    await pipeline.submit()
    pipeline.operator.results.is_away = True
    await pipeline.end("many.0", large(1))
    with pytest.raises(errors.Unavailable):
        await pipeline.end("many.1", large(2))
    pipeline.operator.kubernetes.cancel("report")
    await pipeline.look()
    assert pipeline.phases() == {"many": "Cancelled", "last": "Starting"}


async def test_what_goes_wrong_for_one_step_keeps_no_other_back() -> None:
    pipeline = Pipeline(step("a"), step("b", needs=[]))
    tries = itertools.count()

    def interrupt(write: str, moment: str) -> None:
        # A webhook does not answer: for `a`, whenever its turn comes.
        if (write, moment) == ("create_job", "before") and next(tries) != 1:
            raise errors.Unavailable("not now")

    pipeline.operator.kubernetes.interrupt = interrupt
    await pipeline.operator.submit(pipeline.task)
    with pytest.raises(errors.Unavailable):
        await pipeline.operator.look()
    with pytest.raises(errors.Unavailable):
        await pipeline.operator.look()
    assert sorted(pipeline.jobs()) == ["b"]
    pipeline.operator.kubernetes.cancel("report")
    await pipeline.look()
    assert pipeline.phases() == {"a": "Cancelled", "b": "Cancelled"}


async def test_items_of_what_is_over_are_counted_when_there_are_too_many() -> None:
    items = list(range(60))
    pipeline = Pipeline(
        step("a", forEach=items, maxParallel=9), step("b", forEach=items, maxParallel=9)
    )
    await pipeline.submit()
    for name in ("a", "b"):
        for item in items:
            await pipeline.end(f"{name}.{item}", item)
    first, second = pipeline.status.steps or []
    assert (first.children, first.items, first.succeeded) == (None, 60, 60)
    assert len(second.children or []) == 60
    assert pipeline.jobs() == {}
    assert pipeline.status.result == v1alpha1.Result(value=items)


async def test_an_item_is_listed_until_its_program_was_seen_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody would know its Job any more: its program would not be stopped, its pod never go."""
    monkeypatch.setattr(steps, "_MOST_LISTED", 4)
    pipeline = Pipeline(step("a", forEach=[0, 1, 2]), step("b", forEach=[0, 1, 2]))
    kubernetes = pipeline.operator.kubernetes
    await pipeline.submit()
    lingering = kubernetes.make_pod(pipeline.jobs()["a.0"])
    kubernetes.start_pod(lingering)
    assert kubernetes.report_outcome(lingering, result={"value": 0})
    await pipeline.look()
    for item in (1, 2):
        await pipeline.end(f"a.{item}", item)
    assert pipeline.phases() == {"a": "Succeeded", "b": "Running"}
    assert [run for run in pipeline.jobs() if run.startswith("a.")] == ["a.0"]
    kubernetes.end_pod(lingering)
    await pipeline.look()
    assert [run for run in pipeline.jobs() if run.startswith("a.")] == []
    first, _ = pipeline.status.steps or []
    assert (first.children, first.succeeded) == (None, 3)


WORDS = "w" * names.BRIEF_MAX
HEARD = {"progress": {"percent": 99, "message": WORDS, "updatedAt": NOW}}
BEGUN = {
    **{"attempt": 10, "disruptions": 3, "startOrdinal": 1000, "begunAt": NOW, "startedAt": NOW},
    **{"jobName": "j" * 63, "podName": "p" * 69, "podUid": "u" * 36},
}
OF_OPEN = {"jobUid": "u" * 36, "node": "n" * 63, "claimedAt": NOW}
ENDED = {"exitCode": 255, "reason": "ProgramFailed", "finishedAt": NOW, "reportedAt": NOW}
WELL = BEGUN | ENDED | {"phase": "Succeeded", "endOrdinal": 1000}
BADLY = WELL | {"phase": "Failed", "message": WORDS}
RUNNING = BEGUN | OF_OPEN | {"phase": "Running"}
#: What is tried again has its last message in two places, and what keeps it is as long.
AGAIN = RUNNING | ENDED | {"message": WORDS, "retryAt": NOW, "waiting": WORDS * 4}
REPORTS, CHECKPOINTS = runner_contract.REPORTS_LIMIT, runner_contract.CHECKPOINTS_LIMIT


@pytest.mark.parametrize(
    ("items", "run", "besides", "most"),
    [
        pytest.param(100, WELL, steps.INLINE_BUDGET, 128, id="all-have-succeeded"),
        pytest.param(100, BADLY, CHECKPOINTS, 160, id="all-have-failed"),
        pytest.param(100, RUNNING, CHECKPOINTS + REPORTS, 128, id="all-say-how-they-end"),
        pytest.param(200, WELL | HEARD, steps.INLINE_BUDGET, 256, id="and-told-of-progress"),
        pytest.param(200, BADLY | HEARD, CHECKPOINTS, 320, id="twice-as-many-that-failed"),
        pytest.param(200, RUNNING | HEARD, CHECKPOINTS + REPORTS, 288, id="twice-as-many-that-run"),
        pytest.param(200, AGAIN | HEARD, CHECKPOINTS + REPORTS, 608, id="at-the-very-worst"),
    ],
)
def test_the_resource_has_a_largest_size(
    items: int, run: dict[str, Any], besides: int, most: int
) -> None:
    """Fifty steps and so many items, each with all that can be said of it, in KiB."""
    made: list[dict[str, Any]] = [
        {"name": f"{'s' * 58}{n:02}", **run, **OF_OPEN} for n in range(50)
    ]
    for one in made[: items // 100]:
        one |= {"items": 100, "children": [{"index": index, **run} for index in range(100)]}
    status = v1alpha1.LongTaskStatus.model_validate({"steps": made})
    assert json_values.size(status.to_json()) + besides < most * 1024


async def test_the_end_comes_last_by_its_number() -> None:
    events = ["retrying", "succeeded"]
    pipeline = Pipeline(
        step("a", retry={"maxAttempts": 3, "backoffSeconds": 0}),
        callback={"url": URL, "events": events},
    )
    await pipeline.submit()
    for exit_code in (1, 1, 0):
        await pipeline.end("a", exit_code=exit_code)
    told = [json.loads(sent.body)["data"]["sequence"] for sent in pipeline.operator.sender.sent]
    assert told == [3002, 5002, 7900]
