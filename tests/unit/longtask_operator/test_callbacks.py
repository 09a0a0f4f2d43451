"""Callbacks over a Kubernetes in memory: what is told before the end, again, and beside passes."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_adapters.testing import MemorySender
from longtask_crds import delivery, names, v1alpha1
from longtask_crds.testing import NOW, a_queue, a_task
from longtask_crds.v1alpha1 import ConditionType, TaskEvent, conditions
from longtask_operator.tasks import courier
from longtask_operator.testing import REPORT, URL, Operator

ALL = [*TaskEvent]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def a_task_that_tells(*events: str, **spec: Any) -> v1alpha1.LongTask:
    callback = {"url": URL, "events": list(events) or ALL}
    return a_task(container={"image": "x"}, callback=callback, **spec)


def told(operator: Operator) -> list[str]:
    """Return which events were sent, in order."""
    return [json.loads(sent.body)["type"].removeprefix("longtask.") for sent in sends(operator)]


def sends(operator: Operator) -> list[Any]:
    return list(operator.sender.sent)


def entry(operator: Operator) -> v1alpha1.CallbackStatus:
    found = operator.status().callback
    assert found is not None
    return found


def delivered(operator: Operator) -> tuple[str, str]:
    found = conditions.find(operator.status().conditions, ConditionType.CALLBACK_DELIVERED)
    assert found is not None
    return str(found.status), found.reason


@pytest.mark.parametrize(
    ("form", "media_type", "said"),
    [
        (
            "cloudevents",
            "application/cloudevents+json",
            ["dev.longtask.queued", "dev.longtask.succeeded"],
        ),
        ("slack", "application/json", ["report: queued. Queued", "report: succeeded. Completed"]),
    ],
)
async def test_each_receiver_is_told_in_its_own_words(
    form: str, media_type: str, said: list[str]
) -> None:
    operator = Operator()
    callback = {"url": URL, "events": ["queued", "succeeded"], "format": form}
    await operator.submit(a_task(container={"image": "x"}, callback=callback))
    await operator.run_to_the_end(0, "7")
    bodies = [json.loads(sent.body) for sent in sends(operator)]
    assert [body.get("type") or body["text"] for body in bodies] == said
    assert {sent.media_type for sent in sends(operator)} == {media_type}
    if form == "cloudevents":
        assert [body["id"] for body in bodies] == [sent.webhook_id for sent in sends(operator)]


async def report(operator: Operator, percent: int) -> None:
    operator.kubernetes.report_progress("report", percent)
    await operator.hear()
    await operator.look()


async def later(operator: Operator, seconds: float) -> None:
    operator.kubernetes.now += timedelta(seconds=seconds)
    await operator.look()


# --- before the end ---


async def test_each_event_is_told_in_its_turn_and_numbers_rise() -> None:
    operator = Operator()
    await operator.submit(a_task_that_tells())
    pod = await operator.start()
    await later(operator, 2)
    await report(operator, 25)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    assert told(operator) == ["queued", "started", "progress", "succeeded"]
    numbers = [json.loads(sent.body)["data"]["sequence"] for sent in sends(operator)]
    assert numbers == sorted(set(numbers))
    assert len({sent.webhook_id for sent in sends(operator)}) == 4
    assert (entry(operator).event, delivered(operator)) == ("succeeded", ("True", "Delivered"))
    log = entry(operator).deliveries
    assert log is not None
    assert [made.event for made in log] == ["queued", "started", "progress", "succeeded"]


async def test_a_further_attempt_is_told() -> None:
    operator = Operator()
    await operator.submit(a_task_that_tells("retrying", "failed", retry={"maxAttempts": 2}))
    operator.kubernetes.end_pod(await operator.start(), 1, "out of luck")
    await operator.hear()
    await operator.look()
    assert told(operator) == ["retrying"]
    data = json.loads(sends(operator)[0].body)["data"]
    assert (data["phase"], data["reason"], data["attempt"]) == ("Retrying", "ProgramFailed", 1)


async def test_what_waits_for_its_queue_is_told_and_then_settled() -> None:
    operator = Operator()
    operator.kubernetes.put(
        names.LONGTASKQUEUES, "default", spec=a_queue(paused=True).spec.to_json()
    )
    await operator.submit(a_task_that_tells())
    assert await operator.look() is None
    assert told(operator) == ["queued"]
    assert REPORT not in operator.mirror.to_look_at()


async def test_the_next_event_takes_the_place_of_one_that_is_not_delivered() -> None:
    busy = delivery.Try(at=NOW, code=503)
    operator = Operator(busy, busy)
    await operator.submit(a_task_that_tells("started", "progress", "succeeded"))
    pod = await operator.start()
    await later(operator, 2)
    assert (told(operator), entry(operator).state) == (["started"], "Pending")
    await report(operator, 30)
    assert (told(operator), entry(operator).event) == (["started", "progress"], "progress")
    assert (entry(operator).tries, delivered(operator)) == (1, ("False", "Delivering"))
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    assert told(operator) == ["started", "progress", "succeeded"]
    assert entry(operator).state is v1alpha1.CallbackState.DELIVERED


async def test_progress_is_told_by_tenths_and_not_too_often() -> None:
    operator = Operator()
    await operator.submit(a_task_that_tells("progress"))
    await operator.start()
    await later(operator, 2)
    for percent in (5, 12, 19, 33):
        await report(operator, percent)
    assert told(operator) == ["progress"]
    writes = operator.kubernetes.writes
    await later(operator, 8)
    assert operator.kubernetes.writes == writes
    await later(operator, 3)
    percents = [json.loads(sent.body)["data"]["percent"] for sent in sends(operator)]
    assert percents == [12, 33]


async def test_an_event_that_is_no_end_is_tried_again_after_the_end() -> None:
    operator = Operator(delivery.Try(at=NOW, code=503))
    await operator.submit(a_task_that_tells("started"))
    pod = await operator.start()
    await later(operator, 2)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    assert delivered(operator) == ("False", "Delivering")
    await later(operator, 6)
    first, second = sends(operator)
    assert first == second, "the same id and the same bytes"
    assert delivered(operator) == ("True", "Delivered")


# --- again ---


def ask(operator: Operator, value: str) -> None:
    """Ask as `kubectl annotate` does."""
    annotations = {names.REDELIVER_ANNOTATION: value}
    operator.kubernetes.put(names.LONGTASKS, "report", metadata={"annotations": annotations})


@pytest.mark.parametrize("code", [204, 410])
async def test_a_callback_is_delivered_again_once_for_each_request(code: int) -> None:
    operator = Operator(delivery.Try(at=NOW, code=code))
    await operator.submit()
    await operator.run_to_the_end()
    assert len(sends(operator)) == 1
    ask(operator, "2026-01-02T04:00:00Z")
    await operator.hear()
    assert REPORT in operator.mirror.to_look_at()
    await operator.look()
    first, second = sends(operator)
    assert first == second, "the same id and the same bytes"
    assert (entry(operator).state, entry(operator).tries) == ("Delivered", 1)
    assert delivered(operator) == ("True", "Delivered")
    operator.restart()
    await operator.hear()
    await operator.look()
    assert len(sends(operator)) == 2
    assert REPORT not in operator.mirror.to_look_at()
    ask(operator, "2026-01-02T05:00:00Z")
    await operator.hear()
    await operator.look()
    assert len(sends(operator)) == 3
    log = entry(operator).deliveries
    assert log is not None
    assert [made.code for made in log] == [code, 200, 200]


async def test_a_callback_that_waits_for_its_next_try_goes_at_once_when_asked_for() -> None:
    operator = Operator(delivery.Try(at=NOW, code=500))
    await operator.submit()
    await operator.run_to_the_end()
    assert entry(operator).tries == 1
    ask(operator, "now")
    await operator.hear()
    await operator.look()
    assert (len(sends(operator)), entry(operator).tries) == (2, 1)


async def test_a_request_from_before_the_end_is_none() -> None:
    operator = Operator()
    await operator.submit()
    ask(operator, "copied from elsewhere")
    await operator.hear()
    await operator.run_to_the_end()
    assert len(sends(operator)) == 1


async def test_without_a_callback_there_is_nothing_to_deliver_again() -> None:
    operator = Operator()
    await operator.submit(a_task(container={"image": "x"}))
    await operator.run_to_the_end()
    ask(operator, "now")
    await operator.hear()
    writes = operator.kubernetes.writes
    await operator.look()
    assert (sends(operator), operator.kubernetes.writes) == ([], writes)


async def test_what_is_given_up_is_counted_once() -> None:
    operator = Operator(delivery.Try(at=NOW, code=410))

    def counted() -> float:
        value = operator.metrics.registry.get_sample_value(
            "longtask_callbacks_exhausted_total", {"reason": "Gone"}
        )
        return value or 0.0

    before = counted()
    await operator.submit()
    await operator.run_to_the_end()
    await operator.look()
    assert counted() == before + 1


# --- beside the passes ---


class SlowSender(MemorySender):
    """Answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()
        self.ended = 0

    async def send(self, *words: Any, **named: Any) -> delivery.Try:
        made = await super().send(*words, **named)
        try:
            await self.answered.wait()
        finally:
            self.ended += 1
        return made


@pytest.fixture
def sender() -> SlowSender:
    return SlowSender()


@pytest.fixture
async def operator(sender: SlowSender) -> AsyncIterator[Operator]:
    made = Operator(sender=sender, launch=courier.beside)
    yield made
    sender.answered.set()
    await made.callbacks.close()


async def settled(operator: Operator) -> None:
    """Let what is under way come to its end."""
    for _ in range(100):
        if not operator.callbacks.under_way():
            return
        await asyncio.sleep(0)
    raise AssertionError("it is still under way")


async def begun(operator: Operator) -> None:
    """Let what was launched begin."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_slow_receiver_holds_up_no_pass(operator: Operator, sender: SlowSender) -> None:
    await operator.submit()
    await operator.run_to_the_end()  # it comes back though nobody has answered
    await begun(operator)
    assert (entry(operator).state, len(sender.sent)) == ("Pending", 1)
    (job,) = operator.kubernetes.objects("jobs").values()
    assert "ttlSecondsAfterFinished" in job["spec"]
    for _ in range(3):
        assert await operator.look() is None
    await begun(operator)
    assert len(sender.sent) == 1
    operator.woken.clear()
    sender.answered.set()
    await settled(operator)
    assert operator.woken == ["report"]
    await operator.look()
    assert (entry(operator).state, len(sender.sent)) == ("Delivered", 1)


async def test_news_do_not_wait_for_what_they_replace(
    operator: Operator, sender: SlowSender
) -> None:
    await operator.submit(a_task_that_tells("started", "succeeded"))
    pod = await operator.start()
    await later(operator, 2)
    await begun(operator)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    await begun(operator)
    assert told(operator) == ["started", "succeeded"]
    assert sender.ended == 1, "the one that nobody waits for any more was given up"
    sender.answered.set()
    await settled(operator)
    await operator.look()
    assert (entry(operator).event, entry(operator).state) == ("succeeded", "Delivered")


async def test_a_deleted_task_gives_its_callback_up(operator: Operator, sender: SlowSender) -> None:
    await operator.submit()
    await operator.run_to_the_end()
    await begun(operator)
    operator.kubernetes.remove_task("report")
    await operator.hear()
    await begun(operator)
    assert (operator.callbacks.under_way(), sender.ended) == (0, 1)


async def test_keys_that_cannot_be_read_use_up_no_try(operator: Operator) -> None:
    await operator.submit()
    operator.kubernetes.objects("secrets").clear()
    await operator.run_to_the_end()
    await settled(operator)
    with pytest.raises(errors.NotFound):
        await operator.look()
    assert (entry(operator).state, entry(operator).tries) == ("Pending", 0)


async def test_at_the_end_what_is_under_way_is_answered_and_recorded(
    operator: Operator, sender: SlowSender
) -> None:
    await operator.submit()
    await operator.run_to_the_end()
    await begun(operator)
    closing = asyncio.create_task(operator.callbacks.close())
    await begun(operator)
    assert not closing.done()
    sender.answered.set()
    await settled(operator)
    assert not closing.done(), "it is not recorded yet"
    await operator.look()
    await closing
    assert entry(operator).state is v1alpha1.CallbackState.DELIVERED


class LineSender(SlowSender):
    """Lets nobody have their turn before the test says so."""

    async def send(self, *words: Any, **named: Any) -> delivery.Try:
        await self.answered.wait()
        return await super().send(*words, **named)


async def test_at_the_end_nothing_more_begins_and_what_waits_in_line_is_dropped() -> None:
    sender = LineSender()
    operator = Operator(sender=sender, launch=courier.beside)
    await operator.submit()
    await operator.run_to_the_end()
    await begun(operator)
    await operator.callbacks.close()
    assert await operator.look() is None
    await begun(operator)
    assert (sender.sent, operator.callbacks.under_way()) == ([], 0)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        pytest.param({}, PARENT, id="the-tasks"),
        pytest.param({"Traceparent": "own"}, None, id="or-the-receivers-own"),
    ],
)
async def test_a_callback_belongs_to_the_tasks_trace(
    headers: dict[str, str], sent: str | None
) -> None:
    task = a_task(container={"image": "x"}, callback={"url": URL, "headers": headers})
    annotations = {names.TRACEPARENT_ANNOTATION: PARENT, names.TRACESTATE_ANNOTATION: "a=1,b=2"}
    meta = task.metadata.model_copy(update={"annotations": annotations})
    operator = Operator()
    await operator.submit(task.model_copy(update={"metadata": meta}))
    await operator.run_to_the_end()
    (callback,) = operator.sender.sent
    assert callback.headers.get("traceparent") == sent
    assert callback.headers.get("tracestate") == ("a=1,b=2" if sent == PARENT else None)
    assert callback.headers.items() >= headers.items()
