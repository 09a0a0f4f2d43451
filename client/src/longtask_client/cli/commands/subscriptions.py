"""Commands about subscriptions."""

from typing import Annotated, Any

import typer

from longtask_client import models
from longtask_client.cli import options, session
from longtask_client.cli.given import inputs
from longtask_client.cli.output import forms, lists, phrases, terminal
from longtask_client.cli.output import subscriptions as shown
from longtask_crds import v1alpha1

app = typer.Typer(rich_markup_mode=None)
subscription = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Have receivers told what happens to tasks; see how that went.",
)
app.add_typer(subscription, name="subscription")

_Id = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Its id.", show_default=False)]
_Events = Annotated[
    list[v1alpha1.TaskEvent] | None,
    typer.Option("--event", help="Tell of this; may be given again. The ends when absent."),
]
_Format = Annotated[v1alpha1.MessageFormat | None, typer.Option("--format", help="How it is told.")]
_Description = Annotated[str | None, typer.Option("--for", help="What it is for.")]


@subscription.command(
    epilog="""\b
Examples:
  longtask subscription add https://example.com/hook --event failed --queue gpu
  longtask subscription add https://hooks.slack.com/services/… --format slack
"""
)
def add(
    context: typer.Context,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where the receiver is.", show_default=False)
    ],
    events: _Events = None,
    type_: Annotated[str | None, typer.Option("--type", help="Of tasks of this type.")] = None,
    queue: Annotated[str | None, typer.Option(help="Of tasks in this queue.")] = None,
    owner: Annotated[str | None, typer.Option(help="Of tasks of this owner; for admins.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of tasks with this label; may be given again."),
    ] = None,
    form_of_news: _Format = None,
    description: _Description = None,
    form: options.Output = forms.NAME,
) -> None:
    """Have a receiver told what happens to your tasks; print the subscription's id."""
    said: dict[str, Any] = {"type": type_, "queue": queue, "owner": owner}
    order = inputs.checked(
        models.SubscriptionOrder,
        url=url,
        events=events or None,
        filter=models.SubscriptionFilter(
            **{key: value for key, value in said.items() if value is not None},
            labels=_labels(label or []),
        ),
        format=form_of_news,
        description=description,
    )
    with session.of(context).open() as connection:
        _print(connection.subscribe(order), form)


@subscription.command("list")
def list_(context: typer.Context, form: options.Output = forms.TABLE) -> None:
    """List your subscriptions; for an admin, everybody's."""
    with session.of(context).open() as connection:
        found = list(connection.subscriptions())
    lists.show(
        found, form, what="subscriptions", name=lambda one: one.id, table=shown.SUBSCRIPTIONS
    )


@subscription.command()
def show(context: typer.Context, subscription_id: _Id, form: options.Output = forms.TABLE) -> None:
    """Look at a subscription."""
    with session.of(context).open() as connection:
        _print(connection.subscription(subscription_id), form)


@subscription.command("set")
def set_(
    context: typer.Context,
    subscription_id: _Id,
    url: Annotated[str | None, typer.Option(help="Where the receiver is from now on.")] = None,
    events: _Events = None,
    form_of_news: _Format = None,
    description: _Description = None,
    paused: Annotated[
        bool | None,
        typer.Option("--pause/--resume", help="Tell it nothing, or tell it again."),
    ] = None,
    form: options.Output = forms.NAME,
) -> None:
    """Change a subscription, pause it, or have it told again."""
    said: dict[str, Any] = {
        "url": url,
        "events": events or None,
        "format": form_of_news,
        "description": description,
        "paused": paused,
    }
    given = {key: value for key, value in said.items() if value is not None}
    if not given:
        raise inputs.BadWord("give --url, --event, --format, --for, --pause or --resume")
    change = inputs.checked(models.SubscriptionChange, **given)
    with session.of(context).open() as connection:
        _print(connection.change_subscription(subscription_id, change), form)


@subscription.command()
def delete(context: typer.Context, subscription_id: _Id) -> None:
    """Delete a subscription with its deliveries: nothing more is sent."""
    with session.of(context).open() as connection:
        connection.unsubscribe(subscription_id)
    terminal.show(subscription_id)


@subscription.command()
def deliveries(
    context: typer.Context,
    subscription_id: _Id,
    state: Annotated[
        models.DeliveryState | None, typer.Option(help="Only those that stand like this.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    form: options.Output = forms.TABLE,
) -> None:
    """Show what a subscription was told, and what it is to be told; the newest first."""
    with session.of(context).open() as connection:
        found = list(connection.deliveries(subscription_id, state=state, limit=limit))
    lists.show(found, form, what="deliveries", name=lambda one: one.id, table=shown.DELIVERIES)


@subscription.command(
    epilog="""\b
Examples:
  longtask subscription redeliver SUBSCRIPTION --since 2h --state given_up
  longtask subscription redeliver SUBSCRIPTION DELIVERY
"""
)
def redeliver(
    context: typer.Context,
    subscription_id: _Id,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="DELIVERY", help="These deliveries.", show_default=False),
    ] = None,
    since: options.Since = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before then; written like --since.")
    ] = None,
    state: Annotated[
        models.DeliveryState | None, typer.Option(help="Only those that stand like this.")
    ] = None,
) -> None:
    """Have deliveries made again that are over: the same ids and bodies. Print how many."""
    if not (ids or since or until or state):
        raise inputs.BadWord("give DELIVERY, --since, --until or --state")
    now = phrases.now()
    with session.of(context).open() as connection:
        count = connection.redeliver_to(
            subscription_id,
            ids=ids or None,
            since=None if since is None else inputs.moment(since, option="--since", now=now),
            until=None if until is None else inputs.moment(until, option="--until", now=now),
            state=state,
        )
    terminal.show(str(count))


def _labels(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise inputs.BadWord(f"--label: {pair!r} is no KEY=VALUE")
        found[key] = value
    return found


def _print(found: models.SubscriptionView, form: forms.Form) -> None:
    lists.show_one(
        found, form, name=found.id, text=lambda one, now: shown.SUBSCRIPTIONS.text([one], now)
    )
