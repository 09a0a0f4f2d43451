"""A task of one's own: a function."""

from collections import Counter

from longtask_runner import Context, Permanent, task


@task(name="word-frequency")
def word_frequency(texts: list[str], ctx: Context, most: int = 10) -> dict[str, object]:
    """Return the most frequent words of some texts."""
    if not texts:
        raise Permanent("there is no text")
    words: Counter[str] = Counter()
    for done, text in enumerate(texts, start=1):
        words.update(text.lower().split())
        ctx.progress(done, len(texts), f"{len(words)} different words")
    return {"words": dict(words.most_common(most))}
