"""Commands about who asks: logins, tokens, the key that signs one's callbacks."""

import dataclasses
from typing import Annotated
from urllib.parse import urlsplit

import typer

from longtask_client import errors, models
from longtask_client.cli import config, options, session
from longtask_client.cli.given import inputs, passwords
from longtask_client.cli.output import accounts as shown
from longtask_client.cli.output import forms, lists, phrases, terminal

app = typer.Typer(rich_markup_mode=None)
token = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Make, list and revoke tokens for programs."
)
app.add_typer(token, name="token")

_Username = Annotated[
    str, typer.Option("--username", "-u", help="Who you are.", show_default=False)
]
_Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@app.command(
    epilog="""\b
Examples:
  longtask login https://longtask.example.com --username alice
  pass longtask | longtask login -u alice --password-stdin
"""
)
def login(
    context: typer.Context,
    username: _Username,
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL", help="Where LongTask is; of the context in use.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What the context is called; the URL's host when absent."),
    ] = None,
    password_stdin: _Stdin = False,
) -> None:
    """Log in, and use that context from now on.

    The token is kept in ~/.config/longtask/config.yaml, which nobody else may read, and is good
    for some hours. The password is not kept.
    """
    said = session.of(context)
    opened = said if url is None else dataclasses.replace(said, url=url)
    address = opened.address()
    _warn_if_in_the_clear(address)
    password = passwords.password(from_stdin=password_stdin)
    with opened.connect(address, None) as connection:
        made = connection.login(username, password)
    known = config.load()
    kept = name or (said.context if url is None else "") or _name_for(known, address)
    profile = config.Profile(address, made.token, username)
    config.save(known.with_context(kept, profile, use=True))
    terminal.say(
        f"Logged in as {username} until {phrases.clock(made.expires_at)}; the context is {kept}."
    )


@app.command()
def logout(context: typer.Context) -> None:
    """Log out of the context in use.

    Its session ends, and its token is good no more.
    """
    opened = session.of(context)
    known = config.load()
    name, profile = opened.context_in_use()
    if profile is None or profile.token is None:
        terminal.say("Nobody is logged in.")
        return
    try:
        with opened.connect(profile.url, profile.token) as connection:
            connection.logout()
    except errors.Unauthorized:
        pass  # it has ended already
    without = dataclasses.replace(profile, token=None)
    config.save(known.with_context(name, without, use=False))
    terminal.say(f"Logged out of {profile.url}.")


@app.command()
def whoami(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """Tell who you are to LongTask, and what you may."""
    with session.of(context).open() as connection:
        found = connection.me()
    lists.show_one(found, form, name=found.name, text=shown.me_details)


@app.command()
def register(
    context: typer.Context,
    username: _Username,
    email: Annotated[str, typer.Option(help="Where you are reached.", show_default=False)],
    invite: Annotated[str | None, typer.Option(help="What an administrator has sent you.")] = None,
    password_stdin: _Stdin = False,
) -> None:
    """Make yourself an account, where the installation lets you."""
    opened = session.of(context)
    address = opened.address()
    _warn_if_in_the_clear(address)
    password = passwords.password(from_stdin=password_stdin, again=True)
    order = inputs.checked(
        models.Registration, username=username, password=password, email=email, invite=invite
    )
    with opened.connect(address, None) as connection:
        made = connection.register(order)
    terminal.say(f"You have the account {made.username}, as {made.role}.")
    terminal.say(f"Now: longtask login {address} --username {made.username}")
    terminal.show(made.username)


@app.command()
def password(context: typer.Context) -> None:
    """Change your password; all your other sessions end."""
    current = passwords.password(from_stdin=False, what="Password now")
    new = passwords.password(from_stdin=False, what="New password", again=True)
    with session.of(context).open() as connection:
        connection.change_password(current, new)
    terminal.say("The password is changed; all other sessions have ended.")


@token.command("create")
def create_token(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is for.", show_default=False)
    ],
    scope: Annotated[
        list[models.Scope] | None,
        typer.Option(help="What it may; all that you may when absent. May be repeated."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=365, help="How long it is good; 90 when absent.")
    ] = None,
    form: options.Output = forms.TABLE,
) -> None:
    """Make a token for a program; print it. It is shown once."""
    with session.of(context).open() as connection:
        made = connection.create_token(name, scopes=scope or None, expires_in_days=days)
    scopes = ", ".join(made.scopes)
    terminal.say(f"{made.id} may {scopes} until {phrases.clock(made.expires_at)}.")
    terminal.say("Keep it now: it is not shown again.")
    lists.show_one(made, form, name=made.id, text=lambda one, _: one.token)


@token.command("list")
def list_tokens(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """List your tokens that are good, without what is secret of them."""
    with session.of(context).open() as connection:
        found = connection.tokens()
    lists.show(found, form, what="tokens", name=lambda one: one.id, table=shown.TOKENS)


@token.command("revoke")
def revoke_token(
    context: typer.Context,
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id.", show_default=False)
    ],
) -> None:
    """Let a token be good no more; a few seconds later nobody takes it."""
    with session.of(context).open() as connection:
        connection.revoke_token(token_id)
    terminal.show(token_id)


@app.command("callback-key")
def callback_key(
    context: typer.Context,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; the one before signs for a day.")
    ] = False,
) -> None:
    """Print the key that signs your callbacks.

    It is for any Standard Webhooks library.
    """
    with session.of(context).open() as connection:
        if not rotate:
            terminal.show(connection.callback_key())
            return
        made = connection.rotate_callback_key()
    if made.previous_until is not None:
        terminal.say(
            f"The one before signs as well until {made.previous_until:%Y-%m-%d %H:%M} UTC."
        )
    terminal.show(made.key)


def _warn_if_in_the_clear(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        terminal.say("Warning: http sends the password so that others on the way can read it.")


def _name_for(known: config.Config, address: str) -> str:
    """Return the name of the context that has this address, or one for a new context."""
    names = (name for name, profile in known.contexts.items() if profile.url == address)
    return next(names, urlsplit(address).hostname or address)
