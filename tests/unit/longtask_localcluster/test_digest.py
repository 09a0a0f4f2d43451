from pathlib import Path

import pytest

from longtask_localcluster import digest


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "same"),
    [
        pytest.param({"p/a.py": "1", "p/b.py": "2"}, True, id="the-same-files"),
        pytest.param({"p/a.py": "1", "p/b.py": "3"}, False, id="other-content"),
        pytest.param({"p/a.py": "1", "p/c.py": "2"}, False, id="another-name"),
        pytest.param({"p/a.py": "12", "p/b.py": ""}, False, id="the-border-moved"),
        pytest.param(
            {"p/a.py": "1", "p/b.py": "2", "p/__pycache__/a.pyc": "x"},
            True,
            id="caches-do-not-count",
        ),
    ],
)
def test_of_files(tmp_path: Path, files: dict[str, str], same: bool) -> None:
    one = tree(tmp_path / "one", {"p/a.py": "1", "p/b.py": "2"})
    other = tree(tmp_path / "other", files)
    assert (digest.of_files([one / "p"]) == digest.of_files([other / "p"])) is same


def test_of_text_knows_where_a_text_ends() -> None:
    assert digest.of_text("ab", "c") != digest.of_text("a", "bc")
