"""Accounts of Kubernetes, as the Kubernetes in memory knows them."""

from typing import Any

import jwt

from longtask_adapters.testing import MemoryKubernetes

#: For whom its tokens are meant if nobody says.
DEFAULT_AUDIENCE = "https://kubernetes.default.svc"
VIEWER = {"get longtasks", "list longtasks"}
SUBMITTER = {"get longtasks", "create longtasks"}
EDITOR = VIEWER | {"create longtasks", "patch longtasks", "delete longtasks"}
ADMIN = EDITOR | {"patch longtaskqueues"}


def a_kubernetes_token(who: str, **claims: Any) -> str:
    """A token that looks like Kubernetes' own: only its API server can tell."""
    said = {"iss": DEFAULT_AUDIENCE, "aud": [DEFAULT_AUDIENCE], "sub": who} | claims
    return jwt.encode(said, "s" * 32, algorithm="HS256")


def know(kubernetes: MemoryKubernetes, who: str, *rights: str, **status: Any) -> str:
    """Let the API server know somebody's token, and what they may; return the token."""
    token = a_kubernetes_token(who)
    user = {"username": who, "uid": f"uid-of-{who}", "groups": ["all"], "extra": {"x": ["y"]}}
    usual = {"authenticated": True, "user": user, "audiences": [DEFAULT_AUDIENCE]}
    kubernetes.tokens[token] = usual | status
    kubernetes.rights[who] = set(rights)
    return token
