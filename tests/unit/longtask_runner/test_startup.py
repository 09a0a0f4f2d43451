"""What a task that reports nothing has to load: next to nothing.

The start of a pod is waited for by a person. These modules took from a quarter of a bare
interpreter's start (`enum`) to four times of it (`importlib.metadata`).
"""

import subprocess
import sys

SLOW = {
    "argparse", "asyncio", "dataclasses", "email", "enum", "http", "importlib.metadata", "inspect",
    "ipaddress", "json", "logging", "re", "signal", "socket", "ssl", "subprocess", "threading",
    "typing", "urllib",
}  # fmt: skip
# Without site, whose path files would load some of these first; it loads `os`, though.
SCRIPT = """
import os, sys
before = set(sys.modules)
from longtask_runner import main
if "LONGTASK_API_URL" in os.environ:
    from longtask_runner import last_words
    last_words.PATIENCE_SECONDS = 60.0
try:
    main.main()
except SystemExit as end:
    assert not end.code, end.code
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def modules_after(pod, task: str, members: str) -> set[str]:
    pod.input.write_text(members)
    done = subprocess.run(
        [sys.executable, "-S", "-c", SCRIPT],
        env=pod.env | {"LONGTASK_TYPE": task},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.splitlines())


def test_a_small_task_loads_the_runner_and_little_else(pod) -> None:
    loaded = modules_after(pod, "fibonacci", '{"n": 90}')
    assert loaded & SLOW == set()
    foreign = {name for name in loaded if not name.startswith(("longtask_runner", "longtask_crds"))}
    assert foreign <= {"__future__", "_json", "importlib", "importlib._bootstrap",
                       "importlib._bootstrap_external", "warnings"}  # fmt: skip


def test_who_says_how_it_ends_loads_a_socket_and_no_more(pod, api) -> None:
    pod.env["LONGTASK_API_URL"] = api.url
    loaded = modules_after(pod, "fibonacci", '{"n": 90}')
    assert api.said() == [{"exitCode": 0, "result": {"n": 90, "value": "2880067194370816120"}}]
    assert loaded & SLOW == set()
    assert "_socket" in loaded


def test_of_the_contract_only_what_imports_nothing_is_loaded(pod) -> None:
    loaded = modules_after(pod, "sleep", '{"seconds": 0}')
    ours = {name for name in loaded if name.startswith("longtask_crds")}
    assert ours == {"longtask_crds", "longtask_crds.json_values", "longtask_crds.runner_contract"}


def test_an_event_loop_is_loaded_for_an_async_task_alone(pod) -> None:
    source = "from longtask_runner import task\n@task\nasync def work(): pass\n"
    plain = source.replace("async ", "") + "async def other(): pass\n"
    names = {"work": "with_loop:work", "plain": "without:work"}
    pod.install("probe", names, with_loop=source, without=plain)
    assert "asyncio" in modules_after(pod, "work", "{}")
    assert modules_after(pod, "plain", "{}") & SLOW == set()


def test_no_other_tasks_module_is_loaded(pod) -> None:
    loaded = modules_after(pod, "fibonacci", '{"n": 1}')
    tasks = {name for name in loaded if name.startswith("longtask_runner.tasks.")}
    assert tasks == {"longtask_runner.tasks.fibonacci"}


def test_nothing_but_the_standard_library_is_ever_imported() -> None:
    script = (
        "import sys, pkgutil, longtask_runner, longtask_runner.tasks\n"
        "for place in (longtask_runner, longtask_runner.tasks):\n"
        "    for module in pkgutil.iter_modules(place.__path__, place.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'): __import__(module.name)\n"
        "print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split()) - {"__main__", "sitecustomize"}
    third_party = {"pydantic", "httpx", "aiohttp", "kopf", "kubernetes", "yaml", "requests"}
    assert loaded & third_party == set()
    assert "longtask_runner" in loaded
    contract = {
        name for name in loaded if name.startswith("longtask_") and name != "longtask_runner"
    }
    assert contract == {"longtask_crds"}
