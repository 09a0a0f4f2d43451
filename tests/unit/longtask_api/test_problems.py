import pytest

from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.http import problems


@pytest.mark.parametrize(
    ("said", "told", "detail"),
    [
        pytest.param(
            kube.NoRight("pods is forbidden: User x cannot get"),
            errors.Unavailable,
            "The API lacks a right in the cluster.",
            id="our-own-rights-are-no-users-business",
        ),
        pytest.param(
            kube.Forbidden("exceeded quota"), errors.Forbidden, "exceeded quota", id="a-quota"
        ),
        pytest.param(kube.Rejected("no"), errors.Invalid, "no", id="refused-by-cel"),
        pytest.param(kube.Conflict("no"), errors.Clash, "no", id="somebody-wrote-first"),
        pytest.param(kube.AlreadyExists("no"), errors.Clash, "no", id="the-name-is-taken"),
        pytest.param(kube.TooManyRequests("wait"), errors.TooManyRequests, "wait", id="busy"),
        pytest.param(
            kube.Unavailable("GET /secret/path"),
            errors.Unavailable,
            "Kubernetes does not answer.",
            id="away",
        ),
        pytest.param(
            kube.Expired("old"), errors.Unavailable, "Kubernetes does not answer.", id="too-old"
        ),
        pytest.param(
            kube.NotFound("pods a not found"), errors.ApiError, None, id="a-404-of-ours-is-a-bug"
        ),
        pytest.param(kube.ClusterError("a.b: bad"), errors.ApiError, None, id="unreadable"),
    ],
)
def test_each_error_of_kubernetes_is_one_problem(
    said: kube.ClusterError, told: type[errors.ApiError], detail: str | None
) -> None:
    found = problems.of_cluster(said)
    assert (type(found), found.detail) == (told, detail)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        pytest.param(kube.TooManyRequests("", 7.0), "7", id="as-it-says"),
        pytest.param(kube.TooManyRequests("", 0.5), "1", id="in-whole-seconds"),
        pytest.param(kube.TooManyRequests(""), "1", id="soon-if-it-does-not-say"),
        pytest.param(kube.Unavailable(""), "5", id="later-when-it-is-away"),
    ],
)
def test_when_to_come_back(said: kube.ClusterError, seconds: str) -> None:
    assert problems.of_cluster(said).headers["Retry-After"] == seconds


def test_each_cause_is_named_in_the_orders_own_words() -> None:
    said = kube.Rejected("no", [kube.Cause("spec.callback.headers", "not that")])
    found = problems.of_cluster(said).errors
    assert [(one.pointer, one.detail) for one in found] == [("/callback/headers", "not that")]


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        pytest.param("spec.container.env[0].name", "/container/env/0/name", id="in-a-list"),
        pytest.param("metadata.name", "/name", id="of-the-metadata"),
        pytest.param("spec", "", id="the-whole"),
        pytest.param("<nil>", "", id="nowhere"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_order_pointer(field: str, pointer: str) -> None:
    assert problems.order_pointer(field) == pointer
