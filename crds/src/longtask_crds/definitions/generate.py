"""Write the CustomResourceDefinitions.

python -m longtask_crds.definitions.generate [--check] FOLDER…
"""

import argparse
import sys
from pathlib import Path

import yaml

from longtask_crds.definitions import custom_resources

_HEADER = "# Made by `make generate`: change the models in src/longtask_crds, not this file.\n"


class _PlainDumper(yaml.SafeDumper):
    """Writes each part out: an anchor in a manifest is hard to read."""

    def ignore_aliases(self, data: object) -> bool:
        """Never use an anchor."""
        return True


def files() -> dict[str, str]:
    """Return the text of each CRD's file by its name."""
    return {
        f"{facts.plural}.yaml": _HEADER
        + yaml.dump(
            custom_resources.custom_resource_definition(facts),
            Dumper=_PlainDumper,
            sort_keys=False,
            width=100,
            allow_unicode=True,
        )
        for facts in custom_resources.ALL
    }


def main() -> int:
    """Write the files, or with `--check` tell which would change."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    arguments = parser.parse_args()
    stale = []
    for folder in arguments.folders:
        for name, text in files().items():
            path = folder / name
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(str(path))
            if not arguments.check:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path_name in stale:
        print(f"{'stale' if arguments.check else 'written'}: {path_name}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
