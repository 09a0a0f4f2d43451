"""The examples of pipelines: the pages quote them as they are, and the doors let them in."""

import re
from pathlib import Path

import pytest
import yaml

from longtask_crds import acceptance, address_guard, effective, v1alpha1
from longtask_crds.pipeline import checks
from longtask_crds.testing import NOW

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples" / "pipelines").glob("*.yaml"))
TYPES = {
    raw["metadata"]["name"]: v1alpha1.LongTaskTypeSpec.model_validate(raw["spec"])
    for raw in (yaml.safe_load(file.read_text()) for file in (ROOT / "runner/types").glob("*.yaml"))
}
INSTALLATION = effective.Installation(
    runner_image="runner:1", resources=v1alpha1.Resources(), resource_cap={}
)
#: A link to the file, and then its text.
QUOTED = re.compile(
    r"^\[([\w-]+\.yaml)\]\(\.\./examples/pipelines/\1\)\n\n```yaml\n(.*?)```$", re.M | re.S
)


def spec_of(file: Path) -> v1alpha1.LongTaskSpec:
    raw = yaml.safe_load(file.read_text())
    # As the API reads an order: a field that does not exist is no field that is left out.
    return v1alpha1.LongTaskSpec.model_validate(
        raw["spec"], extra="forbid", by_alias=True, by_name=False
    )


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_may_run(file: Path) -> None:
    spec = spec_of(file)
    assert list(checks.flaws(spec)) == []
    assert acceptance.breaches(spec) == []
    guard = address_guard.Guard.from_lists(allow=[], deny=[])
    assert acceptance.violations(spec, TYPES, INSTALLATION, guard, created_at=NOW) == []


def test_the_pages_quote_each_example_as_it_is() -> None:
    quoted = {
        page: dict(QUOTED.findall((ROOT / "docs" / page).read_text()))
        for page in ("pipelines.md", "coming-from-argo.md")
    }
    files = {file.name: file.read_text() for file in EXAMPLES}
    rebuilt = {name: text for name, text in files.items() if name.startswith("argo-")}
    assert quoted["coming-from-argo.md"] == rebuilt
    assert quoted["pipelines.md"] == {name: files[name] for name in files.keys() - rebuilt.keys()}


def test_the_lengths_of_what_was_rebuilt_are_true() -> None:
    text = (ROOT / "docs/coming-from-argo.md").read_text()
    said = [(int(a), int(b)) for a, b in re.findall(r"^\| A.*\| (\d+), (\d+) \|$", text, re.M)]
    lengths = []
    for name in ("argo-diamond", "argo-loop", "argo-exit-handler"):
        code = (ROOT / f"examples/pipelines/{name}.yaml").read_text().splitlines(keepends=True)
        lines = [line for line in code if line.strip() and not line.lstrip().startswith("#")]
        lengths.append((len(lines), len("".join(lines))))
    assert said == lengths


#: What stands in the page of reference as a field's name, beside those that other pages have.
@pytest.mark.parametrize(
    ("model", "elsewhere"),
    [
        pytest.param(
            v1alpha1.LongTaskSpec,
            {"type", "container", "queue", "priority", "callback", "notify", "notBefore", "cancel"}
            | {"ttlSecondsAfterFinished"},
            id="of-the-task",
        ),
        pytest.param(v1alpha1.Step, set(), id="of-a-step"),
    ],
)
def test_the_page_has_every_field(model: type[v1alpha1.Model], elsewhere: set[str]) -> None:
    text = (ROOT / "docs/pipelines.md").read_text()
    part = text[text.index("| of the task |") : text.index("## References")]
    of_task, of_step = part.split("| of a step |")
    table = of_step if model is v1alpha1.Step else of_task
    heads = " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.M))
    fields = {field.alias or name for name, field in model.model_fields.items()}
    assert set(re.findall(r"`(\w+)`", heads)) == fields - elsewhere
