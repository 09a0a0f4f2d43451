"""Accounts of Kubernetes: its API server says who bears a token, and its RBAC what they may."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Final

from longtask_api import errors
from longtask_api.auth import callers, subjects, web_tokens
from longtask_api.auth.callers import Act
from longtask_api.cluster import Access, Cluster, TokenIdentity
from longtask_api.remembered import Asked, Remembered
from longtask_crds import names, runner_contract

#: What was revoked, and what was granted, is seen after so long.
_REVIEW_SECONDS: Final = 10.0
#: So many tokens are looked at at once: work for tasks needs the API server too.
_PLACES: Final = 16
#: So many wait for that.
_MOST_UNDER_WAY: Final = 200
_LONGEST_NAME: Final = 256


class KubernetesTokens:
    """Knows the tokens that the Kubernetes API server knows."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let the cluster judge.

        Args:
            cluster: Where tokens and rights are looked at.
            namespace: The tasks' namespace: the rights there count.
            clock: Says seconds.
        """
        self._cluster = cluster
        self._namespace = namespace
        # A refusal is a verdict too: it is None.
        self._verdicts: Remembered[bytes, tuple[callers.Caller | None]] = Remembered(
            clock, _REVIEW_SECONDS
        )
        self._reviews: Asked[bytes, callers.Caller | None] = Asked()
        self._places = asyncio.Semaphore(_PLACES)

    async def caller(self, token: str) -> callers.Caller | None:
        """Return who bears the token; None if it is no JSON Web Token.

        Raises:
            Unauthenticated: The API server does not know it, or it is for something else.
            TooManyRequests: Too many are being looked at.
            ClusterError: The API server does not answer.
        """
        claims = web_tokens.claims_of(token)
        if claims is None:
            return None
        if runner_contract.REPORT_AUDIENCE in web_tokens.audiences_of(claims):
            # A task's own: it is for reports, even where the API server takes it as well.
            raise errors.Unauthenticated("A token for reports is none for users.")
        digest = hashlib.sha256(token.encode()).digest()
        verdict = self._verdicts.get(digest)
        found = await self._asked(digest, token) if verdict is None else verdict[0]
        if found is None:
            raise errors.Unauthenticated("Kubernetes does not know the token, or not any more.")
        return found

    async def _asked(self, digest: bytes, token: str) -> callers.Caller | None:
        if len(self._reviews) >= _MOST_UNDER_WAY:
            raise errors.TooManyRequests("Too many tokens are being looked at.")
        return await self._reviews.answer(digest, lambda: self._review(digest, token))

    async def _review(self, digest: bytes, token: str) -> callers.Caller | None:
        async with self._places:
            who = await self._cluster.review_token(token)
            is_known = who is not None and runner_contract.REPORT_AUDIENCE not in who.audiences
            found = await self._judged(who) if who is not None and is_known else None
        self._verdicts.keep(digest, (found,))
        return found

    async def _judged(self, who: TokenIdentity) -> callers.Caller:
        """Return what somebody may here: what they may by kubectl.

        Whoever sees a task by REST may also change and delete it if they may write at all. So who
        may make tasks, but not touch those of others, sees their own alone.
        """
        may_get, may_list, may_create, may_patch, may_delete, may_manage = await asyncio.gather(
            *(
                self._cluster.may(who, Access(verb, resource, self._namespace))
                for verb, resource in (
                    ("get", names.LONGTASKS),
                    ("list", names.LONGTASKS),
                    ("create", names.LONGTASKS),
                    ("patch", names.LONGTASKS),
                    ("delete", names.LONGTASKS),
                    ("patch", names.LONGTASKQUEUES),
                )
            )
        )
        acts = {Act.READ: may_get, Act.WRITE: may_create, Act.MANAGE: may_manage}
        return callers.Caller(
            subject=subjects.of_kubernetes(who.username),
            name=who.username[:_LONGEST_NAME],
            acts=frozenset(act for act, is_granted in acts.items() if is_granted),
            via=callers.Via.KUBERNETES,
            sees_all=may_list and (not may_create or (may_patch and may_delete)),
        )
