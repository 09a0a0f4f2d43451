import inspect
import subprocess
import sys

import longtask_client
from longtask_client import aio, client, errors, models


def test_every_error_model_and_client_are_exported() -> None:
    public = {
        name
        for module in (aio, client, errors, models)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__.startswith(module.__name__)
        and name[0] != "_"
    }
    assert set(longtask_client.__all__) == public - {"Model"}


def test_every_exported_name_can_be_had() -> None:
    assert all(inspect.isclass(getattr(longtask_client, name)) for name in longtask_client.__all__)
    assert longtask_client.__all__ == sorted(longtask_client.__all__)


def test_another_name_is_refused() -> None:
    assert not hasattr(longtask_client, "nonsense")
    assert not hasattr(longtask_client, "httpx")


def loaded_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = [sys.executable, "-c", program]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_the_models_need_no_http_client() -> None:
    assert "httpx" not in loaded_after("from longtask_client import models")


def test_the_command_starts_without_what_is_slow_to_import() -> None:
    help_ = "import contextlib; from longtask_client.cli import program\n"
    help_ += "with contextlib.suppress(SystemExit): program.app(['--help'])"
    assert not loaded_after(help_) & {"httpx", "pydantic", "rich"}
