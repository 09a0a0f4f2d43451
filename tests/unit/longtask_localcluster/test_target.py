from pathlib import Path
from typing import Any

import pytest

from longtask_localcluster import errors, install, target
from longtask_localcluster.target import Choice, Target


@pytest.mark.parametrize(
    ("given", "docker", "root", "chosen"),
    [
        pytest.param(True, True, True, Target.GIVEN, id="the-users-cluster-comes-first"),
        pytest.param(False, True, True, Target.KIND, id="then-docker"),
        pytest.param(False, False, True, Target.ONE_NODE, id="then-this-machine"),
    ],
)
def test_choose(given: bool, docker: bool, root: bool, chosen: Target) -> None:
    found = target.choose(wish=None, given=given, docker=docker, linux=True, root=root)
    assert found is chosen


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [
        pytest.param("given", Target.GIVEN, id="the-users"),
        pytest.param("kind", Target.KIND, id="in-docker"),
        pytest.param("local", Target.ONE_NODE, id="this-machine"),
    ],
)
def test_a_name_comes_before_all(wish: str, chosen: Target) -> None:
    assert target.choose(wish=wish, given=True, docker=True, linux=True, root=True) is chosen


def test_a_given_cluster_must_be_given() -> None:
    with pytest.raises(errors.LocalClusterError, match="KUBECONFIG"):
        target.choose(wish="given", given=False, docker=True, linux=True, root=True)


@pytest.mark.parametrize(
    ("linux", "root"),
    [pytest.param(True, False, id="not-root"), pytest.param(False, True, id="not-linux")],
)
def test_without_any_it_says_what_to_do(linux: bool, root: bool) -> None:
    with pytest.raises(errors.LocalClusterError, match="set KUBECONFIG"):
        target.choose(wish=None, given=False, docker=False, linux=linux, root=root)


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(Choice(Target.ONE_NODE), id="ours"),
        pytest.param(Choice(Target.GIVEN, Path("/home/me/k")), id="given"),
        pytest.param(Choice(Target.KIND, port=8090, nodes=3), id="three-nodes-at-another-port"),
    ],
)
def test_a_clone_remembers_its_cluster(tmp_path: Path, choice: Choice) -> None:
    assert Choice.read(tmp_path) is None
    choice.write(tmp_path)
    assert Choice.read(tmp_path) == choice


def test_a_note_of_an_older_checkout_is_read(tmp_path: Path) -> None:
    (tmp_path / target.FILE).write_text("ONE_NODE\n")
    assert Choice.read(tmp_path) == Choice(Target.ONE_NODE)


@pytest.mark.parametrize(
    ("status", "serves"),
    [
        pytest.param({}, False, id="not-yet-seen"),
        pytest.param({"replicas": 1, "updatedReplicas": 1}, False, id="not-yet-available"),
        pytest.param(
            {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, False, id="old-pod-left"
        ),
        pytest.param(
            {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, True, id="rolled-out"
        ),
    ],
)
def test_a_deployment_serves(status: dict[str, int], serves: bool) -> None:
    deployment = {
        "metadata": {"generation": 3},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 3, **status},
    }
    assert install.serves(deployment) is serves


@pytest.mark.parametrize(
    ("pods", "restarts"),
    [
        pytest.param([], 0, id="no-pod"),
        pytest.param([{"status": {}}], 0, id="not-started"),
        pytest.param(
            [
                {"status": {"containerStatuses": [{"restartCount": 1}, {"restartCount": 4}]}},
                {"status": {"containerStatuses": [{"restartCount": 2}]}},
            ],
            4,
            id="the-worst-counts",
        ),
    ],
)
def test_restarts(pods: list[dict[str, Any]], restarts: int) -> None:
    assert install.restarts(pods) == restarts
