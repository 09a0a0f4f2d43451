"""Commands about schedules."""

from typing import Annotated, Literal, NoReturn

import typer

from longtask_client import client, models, why
from longtask_client.cli import completion, options, session
from longtask_client.cli.commands import submitting
from longtask_client.cli.given import inputs, schedule_orders
from longtask_client.cli.output import forms, lists, phrases, terminal
from longtask_client.cli.output import schedules as shown

app = typer.Typer(rich_markup_mode=None)
schedule = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Start tasks by cron or interval; see what came of it.",
)
app.add_typer(schedule, name="schedule")

_Name = Annotated[
    str,
    typer.Argument(
        metavar="SCHEDULE",
        help="Its name.",
        show_default=False,
        autocompletion=completion.schedules,
    ),
]
_Limit = Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")]


@schedule.command(
    epilog="""\b
Examples:
  longtask schedule create rates --every 5m http-fetch url=https://example.com/rates.json
  longtask schedule create report --cron '30 6 * * 1-5' --time-zone Europe/Zurich report
  longtask schedule create -f schedule.yaml
"""
)
def create(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="SCHEDULE", help="What it is called.", show_default=False),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="A type and its input; after -- a program and its arguments.",
            show_default=False,
            autocompletion=completion.types,
        ),
    ] = None,
    cron: Annotated[
        list[str] | None,
        typer.Option(metavar="CRON", help="When: '30 6 * * 1-5' or @daily; may be repeated."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Or each 90s, 5m, 1h30m or 2d.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE|-",
            help="LongTaskSchedules, or their names and specs, in YAML or JSON.",
        ),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="By the clock of Europe/Zurich, say.")
    ] = None,
    concurrency: Annotated[
        Literal["Allow", "Forbid", "Replace"] | None,
        typer.Option(help="What to do while the last run still goes on; Forbid when absent."),
    ] = None,
    max_failures: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many failures in a row.")
    ] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Start each up to so much later.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON|FILE|-", help="The input, instead of KEY=VALUE."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Run PROGRAM in this image.")] = None,
    queue: Annotated[
        str | None,
        typer.Option(help="The queue of its runs.", autocompletion=completion.queues),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label of each run."),
    ] = None,
    paused: Annotated[
        bool, typer.Option("--paused", help="It starts nothing until it is resumed.")
    ] = False,
    form: options.Output = forms.NAME,
) -> None:
    """Make a schedule; print its name.

    A file may hold several, between lines of three dashes.
    """
    given = (words, cron, every, time_zone, concurrency, max_failures, jitter, source, image)
    if file is None:
        found = [
            schedule_orders.from_words(
                name,
                words or [],
                crons=cron or [],
                every=every,
                source=source,
                image=image,
                queue=queue,
                labels=label or [],
                timeZone=time_zone,
                concurrencyPolicy=concurrency,
                maxFailures=max_failures,
                jitterSeconds=None if jitter is None else inputs.seconds(jitter, "--jitter"),
                suspend=paused or None,
            )
        ]
    elif any(one is not None for one in (*given, queue, label)) or paused:
        raise inputs.BadWord("--file says what runs and when: a NAME alone goes with it")
    else:
        found = schedule_orders.from_file(file, name)
    with session.of(context).open() as connection:
        made = [connection.create_schedule(order) for order in found]
    for one in made:
        if one.next_runs:
            terminal.say(f"{one.name} starts its next run {phrases.clock(one.next_runs[0])}.")
        _print(one, form)


@schedule.command("list")
def list_(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Of this owner.")] = None,
    limit: _Limit = 100,
    form: options.Output = forms.TABLE,
) -> None:
    """List the schedules, by name."""
    with session.of(context).open() as connection:
        found = list(connection.schedules(owner=owner, limit=limit or None))
    lists.show(found, form, what="schedules", name=lambda one: one.name, table=shown.SCHEDULES)


@schedule.command()
def show(context: typer.Context, name: _Name, form: options.Output = forms.TABLE) -> None:
    """Look at a schedule: when it starts runs, what comes next, and its last runs."""
    with session.of(context).open() as connection:
        found = connection.schedule(name)
    _print(found, form)
    _tell_why(found)


@schedule.command(
    "set",
    epilog="""\b
Examples:
  longtask schedule set report schedule='0 7 * * *' timeZone=Europe/Zurich
  longtask schedule set rates intervalSeconds=60 maxFailures=null
  longtask schedule set rates taskTemplate='{"spec": {"priority": 90}}'
""",
)
def set_(
    context: typer.Context,
    name: _Name,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE",
            help="A field of its spec; null takes it away.",
            show_default=False,
        ),
    ],
    form: options.Output = forms.NAME,
) -> None:
    """Change fields of a schedule; runs that have begun go on as they are."""
    changes = inputs.arguments(words)
    with session.of(context).open() as connection:
        _print(connection.change_schedule(name, changes), form)


@schedule.command()
def pause(context: typer.Context, name: _Name, form: options.Output = forms.NAME) -> None:
    """Let a schedule start no runs from now on; those at work go on."""
    with session.of(context).open() as connection:
        _print(connection.pause_schedule(name), form)


@schedule.command()
def resume(context: typer.Context, name: _Name, form: options.Output = forms.NAME) -> None:
    """Let a schedule start runs again; times that have passed are not made up for."""
    with session.of(context).open() as connection:
        found = connection.resume_schedule(name)
    _print(found, form)
    _tell_why(found)


@schedule.command()
def trigger(
    context: typer.Context,
    name: _Name,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    form: options.Output = forms.TABLE,
) -> None:
    """Start a run now, whatever the schedule says; print its id."""
    with session.of(context).open() as connection:
        asked = connection.trigger_schedule(name)
        if wait:
            _see_through(connection, asked, timeout, form)
    lists.show_one(asked, form, name=asked.id, text=lambda one, _: one.id)


@schedule.command()
def reset(context: typer.Context, name: _Name, form: options.Output = forms.NAME) -> None:
    """Forget a schedule's failures, and let it start runs again; it remembers who did so."""
    with session.of(context).open() as connection:
        _print(connection.reset_schedule(name), form)


@schedule.command()
def backfill(
    context: typer.Context,
    name: _Name,
    since: Annotated[
        str,
        typer.Option(
            "--from", metavar="TIME", help="From then on: 2h or 1d ago, or 2026-01-02T03:04:05Z."
        ),
    ],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="To before then; as --from.")],
    form: options.Output = forms.TABLE,
) -> None:
    """Start a run for each time that was due in a range, 100 at most; print their ids."""
    now = phrases.now()
    begin = inputs.moment(since, "--from", now=now)
    end = inputs.moment(until, "--to", now=now)
    with session.of(context).open() as connection:
        asked = connection.backfill_schedule(name, begin, end)
    lists.show(
        asked,
        form,
        what="times are due in that range",
        name=lambda one: one.id,
        table=shown.RUNS_ASKED,
    )


@schedule.command()
def runs(
    context: typer.Context, name: _Name, limit: _Limit = 20, form: options.Output = forms.TABLE
) -> None:
    """List a schedule's runs, live and archived, the newest first."""
    with session.of(context).open() as connection:
        found = list(connection.schedule_runs(name, limit=limit or None, notice=terminal.say))
    lists.show(found, form, what="runs", name=lambda run: run.id, table=shown.RUNS)


@schedule.command()
def status(context: typer.Context, name: _Name, form: options.Output = forms.TABLE) -> None:
    """Tell how the last run went, and what the last that succeeded brought."""
    with session.of(context).open() as connection:
        found = connection.schedule_status(name, notice=terminal.say)
    lists.show_one(found, form, name=found.id, text=shown.schedule_status)


@schedule.command()
def data(
    context: typer.Context, name: _Name, limit: _Limit = 20, form: options.Output = forms.TABLE
) -> None:
    """Print what a schedule's runs brought that succeeded, the newest first."""
    with session.of(context).open() as connection:
        found = list(connection.schedule_data(name, limit=limit or None, notice=terminal.say))
    lists.show(found, form, what="data", name=lambda one: one.id, table=shown.RUN_DATA)


@schedule.command()
def delete(context: typer.Context, name: _Name) -> None:
    """Remove a schedule, and its runs that are not archived; those at work are ended."""
    with session.of(context).open() as connection:
        connection.delete_schedule(name)
    terminal.show(name)


def _see_through(
    connection: client.Client, asked: models.RunAsked, timeout: float | None, form: forms.Form
) -> NoReturn:
    """Wait for the end of a run that was asked for."""
    run = connection.wait_for_run(asked.id)
    raise typer.Exit(submitting.see_through(connection, [run], timeout, form, with_result=True))


def _tell_why(found: models.ScheduleView) -> None:
    """Say why a schedule starts no runs, if it does not."""
    for line in why.of_schedule(found):
        terminal.say(line)


def _print(found: models.ScheduleView, form: forms.Form) -> None:
    if form.is_wide:
        lists.show(
            [found], form, what="schedules", name=lambda one: one.name, table=shown.SCHEDULES
        )
    else:
        lists.show_one(found, form, name=found.name, text=shown.schedule_details)
