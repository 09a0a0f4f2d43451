"""Send the API what its description allows, and what it does not; tell what broke.

    PYTHONPATH=tests/support:tests/fuzz python tests/fuzz/run_fuzz.py [--requests 5000] [--seed 1]

Schemathesis makes the requests up, also in sequences along the links of the description. It fails
on a 5xx, on an answer that the description does not know, on a route that forgets to ask who it is,
and on anything of a task that belongs to somebody else.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz_service import CALLER, Seen, serving

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
)


def fuzz(
    *, examples: int, seed: int, seconds: int | None = None, workers: int = 2
) -> tuple[int, Seen]:
    """Run it; return how schemathesis ended, and what was seen."""
    with serving() as (url, seen), tempfile.TemporaryDirectory() as folder:
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {CALLER}"),
            *("--checks", ",".join(_CHECKS)),
            *("--max-examples", str(examples), "--seed", str(seed), "--workers", str(workers)),
            *("--request-timeout", "20", "--continue-on-failure", "--warnings", "off"),
            *("--generation-database", "none", "--suppress-health-check", "all"),
            *(("--max-time", str(seconds)) if seconds else ()),
        ]
        ended = subprocess.run(command, cwd=folder, check=False)
    return ended.returncode, seen


def main() -> int:
    """Run it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000, help="no fewer than these")
    parser.add_argument("--examples", type=int, default=60, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, help="no longer than these")
    given = parser.parse_args()
    code, seen = fuzz(examples=given.examples, seed=given.seed, seconds=given.seconds)
    codes = ", ".join(f"{count} of {code}" for code, count in sorted(seen.codes.items()))
    print(f"\n{seen.requests} requests: {codes}")
    for what in seen.broken:
        print("broke:", what)
    for what in seen.slow:
        print("took long:", what)
    for what in seen.told:
        print("told of another's task:", what)
    if seen.requests < given.requests:
        print(f"fewer than {given.requests}: give it more --examples")
        return 1
    return code or int(not seen.is_well)


if __name__ == "__main__":
    sys.exit(main())
