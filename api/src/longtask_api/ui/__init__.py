"""The dashboard: the same services as REST, as pages.

Each page is a module in `pages` with a router, and a template; one that everybody should find has a
line in `shell.PLACES`. A page reads; what is changed, its script asks the REST API for.
"""
