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
from longtask_api.remembered import Answers
from longtask_crds import names, runner_contract

#: What was revoked, and what was granted, is seen after so long.
_REVIEW_SECONDS: Final = 10.0
#: So many tokens are looked at at once: work for tasks needs the API server too.
_AT_ONCE: Final = 16
_MOST_WAITING: Final = 200
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
        self._verdicts: Answers[bytes, callers.Caller | None] = Answers(
            clock, _REVIEW_SECONDS, at_once=_AT_ONCE, most_waiting=_MOST_WAITING
        )

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
        found = await self._verdicts.get(digest, lambda: self._review(token))
        if found is None:
            raise errors.Unauthenticated("Kubernetes does not know the token, or not any more.")
        return found

    async def _review(self, token: str) -> callers.Caller | None:
        who = await self._cluster.review_token(token)
        if who is None or runner_contract.REPORT_AUDIENCE in who.audiences:
            return None
        return await self._judged(who)

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
