"""Commands about the contexts that are kept on this machine."""

import sys
from typing import Annotated

import typer

from longtask_client.cli import completion, config, options, session
from longtask_client.cli.given import inputs
from longtask_client.cli.output import forms, tables, terminal

app = typer.Typer(rich_markup_mode=None)
config_ = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="See and change where LongTask is, and who you are.",
)
app.add_typer(config_, name="config")

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Its name.", show_default=False, autocompletion=completion.contexts
    ),
]


@config_.command("get-contexts")
def get_contexts(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """List the contexts; a star marks the one in use. No token is shown."""
    known = config.load()
    in_use = session.of(context).context_in_use()[0] if known.contexts else ""
    if form.is_data:
        items = [
            {
                "name": name,
                "url": profile.url,
                "username": profile.username,
                "hasToken": bool(profile.token),
                "inUse": name == in_use,
            }
            for name, profile in known.contexts.items()
        ]
        terminal.show(form.written({"items": items}))
    elif form.kind is forms.Kind.NAME:
        for name in known.contexts:
            terminal.show(name)
    elif not known.contexts:
        terminal.say("No contexts: longtask login URL --username NAME makes one.")
    else:
        rows = (
            (
                "*" if name == in_use else "",
                name,
                profile.url,
                profile.username or "-",
                "yes" if profile.token else "no",
            )
            for name, profile in known.contexts.items()
        )
        terminal.show(tables.columns(("", "NAME", "URL", "USERNAME", "TOKEN"), rows))


@config_.command("use-context")
def use_context(context: typer.Context, name: _Name) -> None:
    """Use a context from now on."""
    known = config.load()
    known.profile(name)
    config.save(config.Config(known.contexts, name))
    terminal.show(name)


@config_.command("set-context")
def set_context(
    context: typer.Context,
    name: _Name,
    url: Annotated[str | None, typer.Option(help="Where LongTask is.")] = None,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read a token from standard input.")
    ] = False,
) -> None:
    """Make a context, or change it; with a token of `longtask token create`, say."""
    known = config.load()
    before = known.contexts.get(name)
    address = url or (before.url if before else None) or session.of(context).address()
    if not address.startswith(("http://", "https://")):
        raise inputs.BadWord(f"{address!r} is no URL: write it as https://host/path")
    if token_stdin:
        made = config.Profile(address, sys.stdin.readline().strip() or None)
    elif before is not None and before.url == address:
        made = before
    else:
        made = config.Profile(address)  # a token is for its own URL alone
    config.save(known.with_context(name, made, use=False))
    terminal.show(name)


@config_.command("delete-context")
def delete_context(context: typer.Context, name: _Name) -> None:
    """Forget a context; a session that it has goes on until it ends by itself."""
    config.save(config.load().without(name))
    terminal.show(name)
