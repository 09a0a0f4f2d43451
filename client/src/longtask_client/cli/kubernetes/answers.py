"""Answers as the API gives them, and what an error of Kubernetes is among them."""

import json
from typing import Any, Final

from longtask_adapters.kube import errors as cluster_errors
from longtask_client import exchange
from longtask_crds import v1alpha1

URL: Final = "kubernetes"
_NOT_STARTED: Final = "urn:longtask:problem:not-started"
#: What an error of Kubernetes is to a client of the API; the first that fits counts.
_STATUS: tuple[tuple[type[cluster_errors.ClusterError], int, str], ...] = (
    (cluster_errors.NotFound, 404, "There is no such thing"),
    (cluster_errors.Conflict, 409, "Something else has that name, or somebody wrote first"),
    (cluster_errors.Rejected, 422, "Kubernetes refuses it"),
    (cluster_errors.Forbidden, 403, "Your account may not do that"),
    (cluster_errors.ClusterError, 503, "Kubernetes cannot be asked now"),
)


class NotYet(cluster_errors.ClusterError):
    """The container waits to start."""


def data(model: v1alpha1.Model) -> Any:
    """Return a model as JSON has it."""
    return model.model_dump(mode="json", by_alias=True)


def answer(status: int, document: Any, media_type: str = "application/json") -> exchange.Answer:
    """Return an answer with this document."""
    content = json.dumps(document).encode()
    return exchange.Answer(URL, status, "", {"Content-Type": media_type}, content)


def problem(status: int, title: str, *, kind: str = "about:blank") -> exchange.Answer:
    """Return an answer that says what is wrong."""
    document = {"type": kind, "title": title, "status": status}
    return answer(status, document, exchange.PROBLEM)


def not_started() -> exchange.Answer:
    """Return that there is no log yet."""
    return problem(409, "Its program has not started yet.", kind=_NOT_STARTED)


def refusal(error: cluster_errors.ClusterError) -> exchange.Answer:
    """Return what an error of Kubernetes means."""
    if isinstance(error, NotYet):
        return not_started()
    status, title = next(
        (status, title) for kind, status, title in _STATUS if isinstance(error, kind)
    )
    return problem(status, f"{title}: {error}")
