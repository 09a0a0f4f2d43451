import os
import subprocess
from pathlib import Path

from longtask_localcluster import environment


def shell(script: str) -> str:
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_shell_reads_every_value_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "env"
    odd = 'it\'s $HOME; `date` "x"'
    file.write_text(environment.render({"LONGTASK_TOKEN": odd}, folders=[tmp_path]))
    assert shell(f'. {file}; printf %s "$LONGTASK_TOKEN"') == odd


def test_reading_it_twice_puts_the_folders_on_the_path_once(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(environment.render({}, folders=[tmp_path / "a b", tmp_path / "c"]))
    path = shell(f'. {file}; . {file}; printf %s "$PATH"')
    assert path == f"{tmp_path}/a b:{tmp_path}/c:{os.environ['PATH']}"
