from pathlib import Path

import pytest

from longtask_localcluster import errors
from longtask_localcluster.settings import Settings

CLONE = Path("/src/clone")


def settings(environ: dict[str, str], *, kubeconfig: Path | None = None) -> Settings:
    return Settings.from_environ(
        environ, repository=CLONE, python=Path("/venv/bin/python"), kubeconfig=kubeconfig
    )


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        pytest.param({"HOME": "/home/me"}, "/home/me/.cache/longtask", id="below-home"),
        pytest.param({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/longtask", id="xdg-wins"),
        pytest.param({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/longtask", id="empty-xdg"),
    ],
)
def test_the_cache_is_outside_the_clone(environ: dict[str, str], cache: str) -> None:
    assert settings(environ).cache == Path(cache)


@pytest.mark.parametrize(
    ("environ", "option", "given"),
    [
        pytest.param({}, None, None, id="none"),
        pytest.param({"KUBECONFIG": "/k"}, None, "/k", id="the-users"),
        pytest.param({"KUBECONFIG": "/k:/l"}, None, "/k", id="the-first-of-a-list"),
        pytest.param({"KUBECONFIG": "/k"}, "/option", "/option", id="the-option-wins"),
        pytest.param(
            {"KUBECONFIG": f"{CLONE}/.localcluster/kubeconfig"},
            None,
            None,
            id="our-own-is-not-given",
        ),
    ],
)
def test_given_kubeconfig(environ: dict[str, str], option: str | None, given: str | None) -> None:
    found = settings(environ, kubeconfig=Path(option) if option else None).given_kubeconfig
    assert found == (Path(given) if given else None)


def test_a_path_too_long_for_sockets_is_refused() -> None:
    deep = Settings(repository=Path("/" + "d" * 80), cache=Path("/c"))
    with pytest.raises(errors.LocalClusterError, match="shorter path"):
        deep.check()
