"""Building images from Dockerfiles, with neither an engine nor a registry."""

import json
from pathlib import Path

from longtask_localcluster import base_image, images, shell
from longtask_localcluster.settings import Settings


def build(
    settings: Settings, image: images.Image, *, context: Path, base: str, archive: Path
) -> None:
    """Build an image on our base into an archive."""
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
