"""Pipelines: how steps are linked, what they take from each other, and where each of them stands.

Pure, and the same for the API, which refuses what cannot work, and for the operator, which runs the
rest. `graph`: who comes before whom. `references`: `$from` and `$ref`. `conditions`: `when`.
`checks`: what is refused. `runs`: the programs of a task, one by one. `standing`: how far it is.
"""
