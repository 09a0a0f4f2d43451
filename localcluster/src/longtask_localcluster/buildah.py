"""Building images from Dockerfiles, with neither an engine nor a registry."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from longtask_localcluster import base_image, images, progress, shell
from longtask_localcluster.settings import Settings

#: Where buildah notes what it saw in registries, wherever else its folders are.
NOTES = Path("/var/lib/containers/cache/blob-info-cache-v1.boltdb")


def ensure(settings: Settings, image: images.Image, step: progress.Step) -> Path:
    """Return the archive of an image on our base; build it if the cache has none."""
    base = base_image.base_name()
    archive = images.archive(settings, image.name(settings, base))
    if not archive.exists():
        step.detail = "packages"
        context = images.prepare(image, settings, python=base_image.PYTHON)
        step.detail = "layers"
        with without_notes(NOTES):
            _build(settings, image, context=context, base=base, archive=archive)
    return archive


def _build(
    settings: Settings, image: images.Image, *, context: Path, base: str, archive: Path
) -> None:
    work = settings.state / "buildah"
    work.mkdir(exist_ok=True)
    # Nothing is pulled from anywhere, so there is nothing to distrust.
    policy = work / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    trust = f"--signature-policy={policy}"
    buildah = ["buildah", f"--root={work}/storage", f"--runroot={work}/run"]
    buildah += ["--storage-driver=overlay"]

    if not shell.succeeds([*buildah, "inspect", "--type", "image", base]):
        base_archive = base_image.ensure_base(settings)
        shell.run([*buildah, "pull", trust, f"docker-archive:{base_archive}"])
    name = image.name(settings, base)
    # Layers are kept: when only our own modules changed, the dependencies are there already.
    # Commands of a build run as plain processes, there is no container runtime for them.
    command = [*buildah, "build", trust, "--layers", "--isolation=chroot"]
    command += [f"--build-arg=BASE_IMAGE={base}", f"--tag={name}"]
    shell.run([*command, f"--file={settings.repository / image.dockerfile}", context])
    images.forget_old_archives(archive)
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    shell.run([*buildah, "push", trust, name, f"docker-archive:{unfinished}"])
    unfinished.rename(archive)


@contextlib.contextmanager
def without_notes(notes: Path) -> Iterator[None]:
    """Remove the notes with their folders afterwards, unless somebody had some."""
    was_there = notes.exists()
    try:
        yield
    finally:
        if not was_there:
            notes.unlink(missing_ok=True)
            for folder in notes.parents[:2]:
                with contextlib.suppress(OSError):
                    folder.rmdir()
