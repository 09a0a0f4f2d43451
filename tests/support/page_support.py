"""What every page of the dashboard is looked at for."""

import re
from html.parser import HTMLParser

import httpx

from longtask_api.ui import shell

#: What programs, users and others may have written anywhere.
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "template": "{{ 7 * 7 }}{% raw %}",
    "closing": "</bdi></details></main><img src=x onerror=alert(1)>",
    "turned": "\u202egnp.exe\u2066\u200f",
    "long": "word" * 2_500,
    "pictures": "🧨👩‍👩‍👧‍👦 e\u0301",
    "terminal": "\x1b[31mred\x1b]0;title\x07",
    "address": "javascript:alert(1)",
}


class Shape(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def has_ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]


def check(answer: httpx.Response) -> Shape:
    """Return a page's shape once it is sure that the policy allows all of it."""
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == shell.POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    shape = Shape(answer.text)
    for tag, attrs in shape.tags:
        assert not {name for name in attrs if name.startswith("on")}, (tag, attrs)
        assert "style" not in attrs, (tag, attrs)
        assert tag != "style"
        assert tag not in ("img", "iframe", "object", "embed", "base")
        for name in ("href", "src", "action"):
            value = attrs.get(name)
            assert value is None or re.match(r"(/|#)(?!/)", value), (tag, name, value)
    scripts = shape.all("script")
    assert all(one.get("src", "").startswith("/") for one in scripts)  # type: ignore[union-attr]
    assert len(scripts) == 1
    ids = shape.has_ids()
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    return shape
