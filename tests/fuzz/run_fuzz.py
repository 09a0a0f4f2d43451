"""Send the API what its description allows, and what it does not; tell what broke.

    PYTHONPATH=tests/support:tests/fuzz python tests/fuzz/run_fuzz.py [--requests 5000] [--seed 1]
        [--write docs/reliability.md]

Schemathesis makes the requests up, also in sequences along the links of the description: once for
each of two users who have registered and logged in. It fails on a 5xx, on an answer that the
description does not know, on a route that forgets to ask who it is, on anything of a task that
belongs to somebody else, and on anything done to it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import marked_text
from fuzz_checks import BATCH
from fuzz_service import Seen, User, described, serving

#: What an answer may not do. Not whether all that fits the description is taken: rules that need
#: the type, the queue or another field refuse it, and the description cannot say so.
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "use_after_free",
    "allow_header_conformance",
    "batch_refuses_each_wrong_order",
)
#: What is wrong may be too large as well. And in a batch it is refused at its place: a check of our
#: own looks there.
_CONFIGURATION = f"""
[checks.negative_data_rejection]
expected-statuses = ["4xx"]

[[operations]]
include-operation-id = "{BATCH}"
checks.negative_data_rejection.expected-statuses = ["200", "4xx"]
"""


def fuzz(*, examples: int, seed: int, seconds: int | None = None) -> tuple[int, Seen]:
    """Run it, for one user after the other; return how schemathesis ended, and what was seen."""
    with serving() as (url, users, seen), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(_CONFIGURATION)
        codes = [
            _sent(Path(folder), url, user, examples, seed + number, seconds)
            for number, user in enumerate(users)
        ]
    return max(codes), seen


def _sent(
    folder: Path,
    url: str,
    user: User,
    examples: int,
    seed: int,
    seconds: int | None,
) -> int:
    description = folder / f"{user.name}.json"
    description.write_text(json.dumps(described(url, user)))
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", str(description)),
        *("--url", url),
        *("--header", f"Authorization: Bearer {user.token}"),
        *("--checks", ",".join(_CHECKS)),
        # One worker: hypothesis moves Python's limit of recursion, which all threads share, and
        # Python 3.11 ends what another one compiles just then.
        *("--max-examples", str(examples), "--seed", str(seed), "--workers", "1"),
        *("--request-timeout", "20", "--continue-on-failure", "--warnings", "off"),
        # A busy machine is not ready for a moment, and says so.
        *("--exclude-path", "/readyz"),
        *("--generation-database", "none", "--suppress-health-check", "all"),
        *(("--max-time", str(seconds)) if seconds else ()),
    ]
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    knowing = {"SCHEMATHESIS_HOOKS": "fuzz_checks", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, cwd=folder, env=os.environ | knowing, check=False).returncode


def table(code: int, seen: Seen, *, least: int) -> str:
    """Return what came of it, for people."""
    rows = [
        ("requests", f"{seen.requests:,}", seen.requests >= least),
        ("answers with a 5xx", f"{len(seen.broken)}", not seen.broken),
        ("answers unlike their description", "some" if code else "0", not code),
        *(
            (f"{user} asked for a task of another by its name", f"{times:,} times", times > 0)
            for user, times in ((user, seen.others[user]) for user in sorted(seen.asked))
        ),
        ("were told of one, or did something to it", f"{len(seen.told)} times", not seen.told),
    ]
    lines = ["| of requests that are made up | found | |", "|--|--|--|"]
    lines += [f"| {what} | {found} | {'✓' if is_well else '✗'} |" for what, found, is_well in rows]
    return "\n".join(lines)


def main() -> int:
    """Run it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000, help="no fewer than these")
    parser.add_argument("--examples", type=int, default=20, help="for each operation and user")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, help="no longer than these, for each user")
    parser.add_argument("--write", type=Path, help="the page that has the table")
    given = parser.parse_args()
    code, seen = fuzz(examples=given.examples, seed=given.seed, seconds=given.seconds)
    print()
    for line in seen.lines():
        print(line)
    if given.write is not None:
        text = given.write.read_text(encoding="utf-8")
        made = table(code, seen, least=given.requests)
        given.write.write_text(marked_text.written(text, "fuzz", made), encoding="utf-8")
    if seen.requests < given.requests:
        print(f"fewer than {given.requests}: give it more --examples")
        return 1
    return code or int(not seen.is_well)


if __name__ == "__main__":
    sys.exit(main())
