"""What the settings choose, as the parts take it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from longtask_adapters import webhooks
from longtask_api import errors
from longtask_api.auth import browsers, credentials, oidc
from longtask_api.auth.issuer import Issuer
from longtask_api.auth.kubernetes_tokens import KubernetesTokens
from longtask_api.cluster import Cluster
from longtask_api.database.engine import Database
from longtask_api.http import limits
from longtask_api.mail import addresses, smtp
from longtask_api.metrics import Metrics
from longtask_api.services.accounts import local_tokens, own
from longtask_api.settings import MailMode, Settings
from longtask_api.workers import archiver
from longtask_crds import address_guard

_logger = logging.getLogger(__name__)

#: The database is waited for so long: the kubelet would end what does not serve.
_PREPARATION_SECONDS = 10.0


@contextlib.asynccontextmanager
async def database(url: str, metrics: Metrics) -> AsyncIterator[Database]:
    """Open the database, and bring its tables to this version if it is there."""
    async with contextlib.aclosing(Database.at(url, note=metrics.note_transaction)) as database:
        metrics.watch_connections(
            in_use=lambda: database.connections()[0], idle=lambda: database.connections()[1]
        )
        try:
            async with asyncio.timeout(_PREPARATION_SECONDS):
                await database.prepare()
        except (errors.DatabaseAway, TimeoutError) as error:
            cause = repr(error.__cause__ or error)
            _logger.warning("Starting without the database", extra={"cause": cause})
        yield database


def stay(settings: Settings) -> archiver.Stay:
    """Return how long tasks stay that do not say."""
    return archiver.Stay(
        usual=timedelta(seconds=settings.ttl_seconds),
        failed=timedelta(seconds=settings.ttl_seconds_failed),
    )


def account_rules(settings: Settings) -> own.Rules:
    """Return what holds for accounts."""
    return own.Rules(
        registration=settings.registration,
        session=timedelta(hours=settings.session_hours),
        token_days=settings.token_days,
    )


def known_browsers(settings: Settings) -> browsers.Browsers:
    """Return what is known of browsers."""
    return browsers.Browsers(
        is_plain=settings.dashboard_plain_http,
        public_url=settings.public_url,
        hosts=frozenset(settings.hosts),
        origins=frozenset(settings.cors_origins),
    )


def rates(settings: Settings) -> limits.Rates:
    """Return how often somebody may ask."""
    return limits.Rates(
        per_second=settings.requests_per_second,
        per_second_of_address=settings.requests_per_second_per_address,
        logins_per_minute=settings.logins_per_minute,
    )


def mail_door(settings: Settings) -> smtp.Door:
    """Return what takes mails."""
    if settings.mail_mode is MailMode.LOG:
        return smtp.LogDoor()
    return smtp.SmtpDoor(
        settings.mail_host,
        settings.mail_port,
        tls=settings.mail_tls,
        credentials=settings.mail_credentials,
    )


def mail_guard(settings: Settings) -> addresses.Guard:
    """Return who may be sent mails."""
    return addresses.Guard.of(
        domains=settings.mail_allowed_domains, recipients=settings.mail_allowed_recipients
    )


@contextlib.asynccontextmanager
async def bearers(
    settings: Settings, cluster: Cluster, tokens: local_tokens.LocalTokens
) -> AsyncIterator[credentials.Credentials]:
    """Know the bearers of every kind of token that is taken."""
    token = settings.token()
    verifiers: list[credentials.Verifier] = []
    if token is not None:
        verifiers.append(credentials.InstallationToken(token))
    verifiers.append(tokens)
    async with contextlib.AsyncExitStack() as stack:
        if settings.oidc_issuer:
            verifiers.append(
                oidc.OidcTokens(
                    await stack.enter_async_context(Issuer.at(settings.oidc_issuer)),
                    audience=settings.oidc_audience,
                    roles_claim=settings.oidc_roles_claim,
                    admin_value=settings.oidc_admin_value,
                )
            )
        # Last: whatever looks like a token of Kubernetes is one, or none at all.
        if settings.kubernetes_accounts:
            verifiers.append(KubernetesTokens(cluster, namespace=settings.namespace))
        yield credentials.Credentials(verifiers, insecure=token is None)


@contextlib.asynccontextmanager
async def sending(guard: address_guard.Guard, **how: Any) -> AsyncIterator[webhooks.Sender]:
    """Send to receivers, but to those that the guard refuses."""
    sender = webhooks.HttpSender(guard, **how)
    try:
        yield sender
    finally:
        await sender.close()
