"""The tasks that come with the runner."""

import math
import pathlib
import tomllib

import pytest

from longtask_runner import Context, TaskCancelled, cancellation, discovery, errors, testing
from longtask_runner.tasks import fibonacci, prime_numbers, sleep

ROOT = pathlib.Path(__file__).parents[3]


def trial_division(n: int) -> list[int]:
    return [k for k in range(2, n + 1) if all(k % d for d in range(2, math.isqrt(k) + 1))]


def test_fibonacci_is_the_sum_of_the_two_before() -> None:
    a, b = 0, 1
    for n in range(300):
        assert fibonacci.number(n) == a
        a, b = b, a + b


def test_fibonacci_is_a_string_of_digits() -> None:
    assert fibonacci.fibonacci(93) == {"n": 93, "value": "12200160415121876738"}


def test_fibonacci_goes_beyond_the_digits_that_python_allows() -> None:
    value = fibonacci.fibonacci(100_000)["value"]
    assert len(value) == 20_899
    assert value.startswith("2597406934")
    assert value.endswith("3428746875")


@pytest.mark.parametrize("n", [-1, 100_001])
def test_fibonacci_has_bounds(n: int) -> None:
    with pytest.raises(errors.InvalidInput, match="n: must be between"):
        fibonacci.fibonacci(n)


@pytest.mark.parametrize("n", [*range(50), 121, 168, 169, 170, 1000, 2000])
def test_primes_are_those_of_trial_division(n: int) -> None:
    assert prime_numbers.prime_numbers(n, Context())["primes"] == trial_division(n)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 24, 25, 26, 500])
def test_primes_do_not_depend_on_the_segments(n: int, size: int) -> None:
    found = [prime for _, primes in prime_numbers.segments(n, size=size) for prime in primes]
    assert found == trial_division(n)


def test_a_million_has_its_known_count_and_progress_per_segment() -> None:
    reporter = testing.MemoryReporter()
    result = prime_numbers.prime_numbers(1_000_000, Context(connect=lambda: reporter))
    assert (result["count"], result["primes"][-1]) == (78_498, 999_983)
    assert reporter.percents == [26, 52, 78]
    assert reporter.messages[-1] == "62947 primes up to 786433"


@pytest.mark.parametrize("n", [-1, 10_000_001])
def test_primes_have_bounds(n: int) -> None:
    with pytest.raises(errors.InvalidInput, match="n: must be between"):
        prime_numbers.prime_numbers(n, Context())


class Clockwork(cancellation.Cancellation):
    """Waits in no time, and is cancelled at a given second."""

    def __init__(self, *, until: float = math.inf) -> None:
        super().__init__()
        self.slept = 0.0
        self.until = until

    def wait(self, seconds: float) -> bool:
        self.slept += seconds
        return self.slept > self.until


@pytest.mark.parametrize(
    ("seconds", "percents"),
    [
        pytest.param(0, [], id="not-at-all"),
        pytest.param(0.5, [], id="less-than-a-second"),
        pytest.param(4, [25, 50, 75, 100], id="whole-seconds"),
        pytest.param(2.5, [40, 80], id="and-a-half"),
    ],
)
def test_sleep_reports_each_second(seconds: float, percents: list[int]) -> None:
    reporter, clock = testing.MemoryReporter(), Clockwork()
    assert sleep.sleep(seconds, Context(connect=lambda: reporter, cancel=clock)) == {
        "seconds": seconds
    }
    assert (reporter.percents, clock.slept) == (percents, seconds)


def test_sleep_ends_when_it_is_cancelled() -> None:
    clock = Clockwork(until=2)
    with pytest.raises(TaskCancelled):
        sleep.sleep(10, Context(cancel=clock))
    assert clock.slept == 3


@pytest.mark.parametrize("seconds", [-1, 86_401, math.inf, math.nan])
def test_sleep_has_bounds(seconds: float) -> None:
    with pytest.raises(errors.InvalidInput, match="seconds: must be between"):
        sleep.sleep(seconds, Context())


def test_each_entry_point_loads(pod) -> None:
    project = tomllib.loads((ROOT / "runner/pyproject.toml").read_text())["project"]
    for name in project["entry-points"]["longtask.tasks"]:
        assert callable(discovery.load(name, [str(pod.packages)]))
