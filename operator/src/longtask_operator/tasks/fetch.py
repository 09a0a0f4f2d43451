"""Fetch what pipelines take from results that the API keeps, and have it keep what they bring."""

import collections
import dataclasses

from longtask_adapters.kube import errors
from longtask_crds import v1alpha1
from longtask_operator import results
from longtask_operator.rules import outcome, steps

#: Of 64 KiB at most each; all items of a step take theirs from the same one.
_MOST_KEPT = 64


@dataclasses.dataclass(frozen=True)
class Fetched:
    """What is there for a pipeline."""

    known: steps.Parts
    is_short: bool = False  #: something is not, for now


_NOTHING = Fetched({})


class Fetcher:
    """Asks the API for parts of results; the last ones are remembered, for none ever changes."""

    def __init__(self, kept: results.Results) -> None:
        self._kept = kept
        self._parts: collections.OrderedDict[steps.PartKey, steps.Part] = collections.OrderedDict()

    async def parts_for(self, task: v1alpha1.LongTask) -> Fetched:
        """Return what a pipeline takes from kept results just now."""
        if not task.status.steps or task.is_finished:
            return _NOTHING
        known: dict[steps.PartKey, steps.Part] = {}
        # What a step takes may become known by what was fetched before: a list, then its items.
        while missing := steps.wanted(task, known) - known.keys():
            for key in missing:
                try:
                    known[key] = await self._part(key)
                except errors.Unavailable:
                    return Fetched(known, is_short=True)
        return Fetched(known)

    async def keep(
        self, task: v1alpha1.LongTask, recipe: steps.Recipe
    ) -> v1alpha1.ResultRef | outcome.Outcome:
        """Have the API make and keep a result; or return how what brings it fails without that.

        Raises:
            Unavailable: It does not, for now.
        """
        return await self._kept.make(task.metadata.uid, recipe)

    async def _part(self, key: steps.PartKey) -> steps.Part:
        part = self._parts.get(key)
        if part is None:
            part = await self._kept.part(key)
        self._parts[key] = part
        self._parts.move_to_end(key)
        if len(self._parts) > _MOST_KEPT:
            self._parts.popitem(last=False)
        return part
