"""Fetch what pipelines take from results that the API keeps, and have it keep what they bring."""

import collections
import dataclasses

from longtask_adapters.kube import errors
from longtask_crds import v1alpha1
from longtask_crds.pipeline import inputs
from longtask_operator import results
from longtask_operator.rules import outcome, steps

#: So many pipelines are remembered, each with what it takes just now.
_MOST_KEPT = 256


@dataclasses.dataclass(frozen=True)
class Fetched:
    """What is there for a pipeline."""

    known: inputs.Parts
    is_short: bool = False  #: something is not, for now


_NOTHING = Fetched({})


class Fetcher:
    """Asks the API for parts of results; those are remembered while they are wanted."""

    def __init__(self, kept: results.Results) -> None:
        self._kept = kept
        #: By the pipeline's uid; no result ever changes.
        self._parts: collections.OrderedDict[str, dict[inputs.PartKey, inputs.Part]] = (
            collections.OrderedDict()
        )

    async def parts_for(self, task: v1alpha1.LongTask) -> Fetched:
        """Return what a pipeline takes from kept results just now."""
        if not task.status.steps or task.is_finished:
            return _NOTHING
        old, known = self._parts.pop(task.metadata.uid, {}), dict[inputs.PartKey, inputs.Part]()
        try:
            # What is taken may become known by what was fetched before: a list, then its items.
            while missing := steps.wanted(task, known) - known.keys():
                for key in missing:
                    known[key] = old.get(key) or await self._kept.part(key)
        except errors.Unavailable:
            return Fetched(known, is_short=True)
        finally:
            if known:
                self._parts[task.metadata.uid] = known
            if len(self._parts) > _MOST_KEPT:
                self._parts.popitem(last=False)
        return Fetched(known)

    async def keep(
        self, task: v1alpha1.LongTask, recipe: steps.Recipe
    ) -> v1alpha1.ResultRef | outcome.Outcome:
        """Have the API make and keep a result; or return how what brings it fails without that.

        Raises:
            Unavailable: It does not, for now.
        """
        return await self._kept.make(task.metadata.uid, recipe)
