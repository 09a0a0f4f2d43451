"""From options to orders of schedules: pure, but for reading the files that options name."""

from collections.abc import Sequence

from pydantic import ValidationError

from longtask_client import models
from longtask_client.cli.given import inputs, manifests, orders


def from_file(source: str, name: str | None) -> list[models.ScheduleOrder]:
    """Return the orders that a file holds: LongTaskSchedules, or their names and specs.

    Args:
        source: The file.
        name: What the one in it is called instead.

    Raises:
        BadWord: It holds none, or one that is no order.
    """
    found = manifests.read(source, "LongTaskSchedule")
    if name is not None and len(found) > 1:
        raise inputs.BadWord("a name is for one schedule, and the file holds several")
    return [_order(fields | ({"name": name} if name is not None else {})) for fields in found]


def from_words(
    name: str | None,
    words: Sequence[str],
    *,
    crons: Sequence[str],
    every: str | None,
    source: str | None,
    image: str | None,
    queue: str | None,
    labels: Sequence[str],
    **fields: object,
) -> models.ScheduleOrder:
    """Return the order that the options of `schedule create` are.

    Args:
        name: What it is called.
        words: What runs, as `submit` takes it.
        crons: When, in cron's words,
        every: or each so often.
        source: The whole input of a run.
        image: What image a program runs in.
        queue: The queue of the runs.
        labels: Their labels.
        fields: Further fields of the spec, by their names there; None says nothing.

    Raises:
        BadWord: They contradict each other, or one of them cannot be understood.
    """
    if name is None:
        raise inputs.BadWord("what is it called? Give it a NAME, or a --file that says so")
    if bool(crons) == (every is not None):
        raise inputs.BadWord("when shall it run? Give --cron or --every, and not both")
    (task,) = orders.orders(
        words,
        file=None,
        source=source,
        image=image,
        env=(),
        name=None,
        queue=queue,
        priority=None,
        labels=(),
        callback={},
        attempts=None,
        not_before=None,
    )
    template: dict[str, object] = {"spec": task.to_json()}
    if labels:
        template["labels"] = dict(inputs.pairs(labels, what="label"))
    when: dict[str, object] = {"schedule": crons[0] if len(crons) == 1 else list(crons)}
    if every is not None:
        when = {"intervalSeconds": inputs.seconds(every, "--every")}
    said = {key: value for key, value in fields.items() if value is not None}
    return _order({"name": name, **when, **said, "taskTemplate": template})


def _order(fields: dict[str, object]) -> models.ScheduleOrder:
    try:
        # As the API reads it: what it does not know it must not lose in silence here.
        return models.ScheduleOrder.model_validate(
            fields, extra="forbid", by_alias=True, by_name=False
        )
    except ValidationError as error:
        raise inputs.BadWord(inputs.flaws(error)) from error
