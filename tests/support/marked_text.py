"""The part of a document that a program writes, between two comments that nobody sees."""


def written(document: str, mark: str, text: str) -> str:
    """Return the document with the text between its markers.

    Raises:
        ValueError: It has none.
    """
    before, begin, _, end, after = _parts(document, mark)
    return f"{before}{begin}\n{text}\n{end}{after}"


def read(document: str, mark: str) -> str:
    """Return the text between the document's markers; raises as `written` does."""
    return _parts(document, mark)[2]


def _parts(document: str, mark: str) -> tuple[str, str, str, str, str]:
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found, rest = document.partition(begin)
    text, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the document has no {begin} with an {end}")
    return before, begin, text, end, after
