"""Tasks by entry points."""

import sys

import pytest

from longtask_runner import discovery, errors

MODULE = """
from longtask_runner import task

@task
def hello(): return "hello"

@task(name="other")
def named(): pass

class Inside:
    @staticmethod
    @task
    def deep(): return "deep"

def undecorated(): pass

@task
def generator():
    yield 1

@task
async def async_generator():
    yield 1
"""


@pytest.fixture
def path(pod, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pod.install(
        "probe",
        {
            "hello": "probe_module:hello",
            "deep": "probe_module:Inside.deep",
            "extra": "probe_module:hello [extra]",
            "misnamed": "probe_module:named",
            "undecorated": "probe_module:undecorated",
            "generator": "probe_module:generator",
            "async-generator": "probe_module:async_generator",
            "no-attribute": "probe_module:nothing",
            "no-module": "probe_nowhere:hello",
            "broken": "probe_broken:hello",
        },
        probe_module=MODULE,
        probe_broken="raise RuntimeError('at import')",
    )
    monkeypatch.syspath_prepend(str(pod.packages))
    for module in ("probe_module", "probe_broken"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return ["/nowhere", str(pod.packages)]


@pytest.mark.parametrize(
    ("name", "result"),
    [
        pytest.param("hello", "hello", id="a-function"),
        pytest.param("deep", "deep", id="an-attribute-of-an-attribute"),
        pytest.param("extra", "hello", id="extras-are-ignored"),
    ],
)
def test_a_task_is_loaded_by_its_name(path: list[str], name: str, result: str) -> None:
    assert discovery.load(name, path)() == result


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("misnamed", "is @task\\('other'\\), not 'misnamed'", id="another-name"),
        pytest.param("undecorated", "no function with @task", id="no-decorator"),
        pytest.param("generator", "'probe_module:generator' is a generator", id="a-generator"),
        pytest.param("async-generator", "is a generator", id="an-async-generator"),
        pytest.param("no-attribute", "AttributeError", id="no-such-attribute"),
        pytest.param("no-module", "ModuleNotFoundError", id="no-such-module"),
        pytest.param("broken", "RuntimeError: at import", id="a-module-that-fails"),
    ],
)
def test_a_broken_task_says_why(path: list[str], name: str, words: str) -> None:
    with pytest.raises(errors.TaskNotLoadable, match=words):
        discovery.load(name, path)


def test_an_unknown_task_lists_the_known_ones(path: list[str]) -> None:
    with pytest.raises(errors.TaskNotFound) as caught:
        discovery.load("nope", path)
    assert "'nope'; it has: async-generator, broken, deep, " in str(caught.value)
    with pytest.raises(errors.TaskNotFound, match="it has: none"):
        discovery.load("nope", [])


def test_only_the_wanted_module_is_imported(path: list[str]) -> None:
    discovery.load("hello", path)
    assert "probe_broken" not in sys.modules


def test_two_packages_with_one_name_are_refused(pod) -> None:
    pod.install("second", {"sleep": "a:b"})
    with pytest.raises(errors.TaskNotLoadable, match="'sleep': longtask_runner, second"):
        discovery.load("sleep", [str(pod.packages)])


def test_a_package_counts_where_it_comes_first_on_the_path(pod) -> None:
    twice = discovery.find_all([str(pod.packages), str(pod.packages)])
    assert len(twice) == len(discovery.find_all([str(pod.packages)])) == 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("[other]\na = b:c", [], id="another-group"),
        pytest.param("[longtask.tasks]\na=b:c", [("a", "b:c")], id="no-blanks"),
        pytest.param(
            "# x\n[ longtask.tasks ]\n; y\n#a = b:c\n\na = b:c\n[z]\nd = e:f",
            [("a", "b:c")],
            id="comments-and-other-groups",
        ),
    ],
)
def test_the_file_is_read_by_its_specification(text: str, found: list) -> None:
    entries = discovery.parse(text.splitlines(), package="p")
    assert [(entry.name, entry.target) for entry in entries] == found
