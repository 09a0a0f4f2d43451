"""Watches what is told of tasks, whatever happens to them."""

import json

from longtask_adapters.testing.sender import Sent
from longtask_crds import events, v1alpha1
from longtask_crds.events import Event
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import TaskEvent


class Witness:
    """Knows what was told of each task, and allows nothing of it to change."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Event]] = {}
        #: Each number under which something was told, by its id. An event has one; of progress a
        #: callback tells each percent once, and the number is that of the moment.
        self.told: dict[str, set[int]] = {}

    def see(self, task: v1alpha1.LongTask) -> None:
        """Check that events were only added since, and each with a higher number."""
        found, uid = events.of(task), task.metadata.uid
        numbers = [event.sequence for event in found]
        assert numbers == sorted(set(numbers)), found
        known, now = self.known.get(uid, {}), {event.id: event for event in found}
        for event in known.values():
            if not is_forgotten(task, event):
                assert now.get(event.id) == event, "an event changed, or is gone"
        news = [event for event in found if event.id not in known]
        last = max((event.sequence for event in known.values()), default=0)
        assert all(event.sequence > last for event in news), (known, news)
        self.known[uid] = known | now
        said = events.progress(task)
        for event in (*found, *([said] if said else [])):
            self.told.setdefault(event.id, set()).add(event.sequence)

    def check(self, sent: Sent) -> None:
        """Check that a callback speaks of an event that was seen, under its number."""
        assert json.loads(sent.body)["data"]["sequence"] in self.told[sent.webhook_id]


def is_forgotten(task: v1alpha1.LongTask, event: Event) -> bool:
    """Tell whether the status keeps no more of what the event speaks of."""
    if event.step is None or event.type is TaskEvent.FAILED:
        numbers = [attempt.number for attempt in task.status.attempts or ()]
        return bool(numbers) and 0 < event.attempt < numbers[0]
    run = runs.status_of(task.status, event.step)
    is_waiting = run.phase is v1alpha1.StepPhase.RETRYING
    return run.attempt != event.attempt or (event.type is TaskEvent.RETRYING and not is_waiting)
