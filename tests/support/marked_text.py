"""The part of a document that a program writes, between two comments that nobody sees."""


def written(document: str, mark: str, text: str) -> str:
    """Return the document with the text between its markers.

    Raises:
        ValueError: It has none.
    """
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found, rest = document.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the document has no {begin} with an {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
