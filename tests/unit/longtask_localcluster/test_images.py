import json
import os
import tarfile
from pathlib import Path

import pytest

from longtask_localcluster import archive, buildah, errors, images, install

LOCK = """\
# a comment of the tool
aiohttp==3.14.5 \\
    --hash=sha256:01 \\
    --hash=sha256:02
pytest==9.2.0 \\
    --hash=sha256:03
uvloop==0.22 ; sys_platform != 'win32' \\
    --hash=sha256:04
"""


def test_the_subset_of_a_lock_keeps_pins_and_hashes() -> None:
    assert images.locked(LOCK, {"aiohttp", "uvloop"}) == (
        "aiohttp==3.14.5 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\n"
        "uvloop==0.22 ; sys_platform != 'win32' \\\n    --hash=sha256:04\n"
    )


def test_our_own_members_are_no_packages_of_the_lock() -> None:
    assert images.names_in("aiohttp==3.14.5\n./crds\nlongtask-crds @ file:///x\n") == {"aiohttp"}


def test_a_layer_becomes_an_image_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    layer = tmp_path / "layer.tar"
    archive.layer_of(layer, {"pause": tmp_path / "program"})
    archive.write(tmp_path / "image.tar", layer=layer, name="localhost/p:1", config={"User": "1"})
    with tarfile.open(tmp_path / "image.tar") as image:

        def read(name: str) -> bytes:
            member = image.extractfile(name)
            assert member
            return member.read()

        (manifest,) = json.loads(read("manifest.json"))
        config = json.loads(read(manifest["Config"]))
        assert manifest["RepoTags"] == ["localhost/p:1"]
        assert config["config"] == {"User": "1"}
        (layer_file,) = manifest["Layers"]
        assert config["rootfs"]["diff_ids"] == [f"sha256:{layer_file.removesuffix('.tar')}"]
        assert read(layer_file) == layer.read_bytes()


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        pytest.param("localhost/longtask-api:1", "localhost/longtask-api", "1", id="local"),
        pytest.param("reg.example:5000/a/b:dev", "reg.example:5000/a/b", "dev", id="with-a-port"),
    ],
)
def test_image_values(name: str, repository: str, tag: str) -> None:
    assert install.image_values(name) == {"registry": "", "repository": repository, "tag": tag}


def test_an_image_without_a_tag_is_refused() -> None:
    with pytest.raises(errors.LocalClusterError, match="needs a tag"):
        install.image_values("reg.example:5000/a/b")


def test_only_the_newest_archives_of_a_repository_are_kept(tmp_path: Path) -> None:
    coming = tmp_path / "longtask-api" / "4.tar"
    coming.parent.mkdir()
    for age, tag in enumerate(["3", "2", "1", "0"]):
        (coming.parent / f"{tag}.tar").touch()
        os.utime(coming.parent / f"{tag}.tar", (1000 - age, 1000 - age))

    images.forget_old_archives(coming)

    assert {file.name for file in coming.parent.iterdir()} == {"2.tar", "3.tar"}


@pytest.mark.parametrize("was_there", [True, False])
def test_what_buildah_notes_outside_goes_unless_somebody_had_it(
    tmp_path: Path, was_there: bool
) -> None:
    notes = tmp_path / "containers" / "cache" / "notes"

    def write() -> None:
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.touch()

    if was_there:
        write()
    with buildah.without_notes(notes):
        write()
    assert notes.exists() is was_there
    assert notes.parents[1].exists() is was_there
