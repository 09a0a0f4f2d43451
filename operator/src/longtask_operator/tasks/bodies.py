"""What callbacks say: from the resource, and of a larger result from where it is kept."""

from longtask_crds import events, v1alpha1
from longtask_operator import results


class Bodies:
    """Writes the bodies of callbacks.

    Args:
        kept: Has the results that are not in the resource.
        public_url: Where users reach the API, for links to what is too large to be sent.
    """

    def __init__(self, kept: results.Results, public_url: str) -> None:
        self._kept = kept
        self._public_url = public_url

    async def write(self, task: v1alpha1.LongTask, event: v1alpha1.TaskEvent) -> bytes:
        """Return the bytes to send: the same on every try.

        Raises:
            Unavailable: The result cannot be had for now.
        """
        ref = events.fetched(task, event)
        content = None if ref is None else await self._kept.fetch(task.metadata.uid, ref)
        entry = task.status.callback
        return events.body(
            task,
            event,
            webhook_id=entry.id if entry is not None else "",
            form=form_of(task),
            public_url=self._public_url,
            result=content,
        )


def form_of(task: v1alpha1.LongTask) -> v1alpha1.MessageFormat:
    """Return how the task's receiver is told."""
    callback = task.spec.callback
    return (callback.format if callback else None) or v1alpha1.MessageFormat.STANDARD
