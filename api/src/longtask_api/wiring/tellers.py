"""Who tells people what happens: by mail, and to subscriptions."""

import dataclasses
from collections.abc import Callable
from datetime import datetime

from longtask_adapters import webhooks
from longtask_api.cluster import Cluster
from longtask_api.database.engine import Database
from longtask_api.mail import message, smtp
from longtask_api.mail.writer import Writer
from longtask_api.metrics import Metrics
from longtask_api.services.callback_keys import CallbackKeys
from longtask_api.settings import Settings
from longtask_api.stores.addresses import Addresses, LinkKey
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.ledger import Ledger
from longtask_api.stores.subscriptions import Subscriptions
from longtask_api.wiring import choices
from longtask_api.wiring.watched import Watched
from longtask_api.workers.addressees import Addressees
from longtask_api.workers.deliverer import Deliverer
from longtask_api.workers.mailer import Mailer
from longtask_api.workers.subscribers import Subscribers
from longtask_api.workers.supervisor import Supervisor
from longtask_api.workers.teller import Teller


@dataclasses.dataclass(frozen=True)
class Tellers:
    """The teller, who notes what is to be told, and those who tell it."""

    teller: Teller
    wishes: Addresses
    link_key: LinkKey
    writer: Writer
    addressees: Addressees
    mailer: Mailer
    subscriptions: Subscriptions
    subscribers: Subscribers
    deliverer: Deliverer

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        cluster: Cluster,
        watched: Watched,
        blobs: Blobs,
        ledger: Ledger,
        keys: CallbackKeys,
        metrics: Metrics,
        *,
        sender: webhooks.Sender,
        door: smtp.Door | None,
        clock: Callable[[], datetime],
    ) -> "Tellers":
        """Make them; the teller hears of schedules from now on, of tasks once it is told of them.

        Args:
            settings: What the installation says.
            database: Where wishes and subscriptions are.
            cluster: Where the key of links in mails is.
            watched: What happens.
            blobs: Results that subscriptions are told of.
            ledger: What is to be told, and what was.
            keys: Sign what subscriptions are told.
            metrics: What is counted.
            sender: Sends to subscriptions.
            door: Takes mails; as the settings say when absent.
            clock: Returns the time.
        """
        subscriptions = Subscriptions(database)
        subscribers = Subscribers(subscriptions, blobs, public_url=settings.public_url)
        deliverer = Deliverer(
            ledger,
            subscriptions,
            sender,
            keys.active_of,
            schedule=settings.callback_schedule,
            clock=clock,
        )
        wishes = Addresses(database)
        addressees = Addressees(wishes)
        link_key = LinkKey(cluster, namespace=settings.secrets_namespace)
        writer = Writer(
            message.Templates(settings.mail_templates),
            message.Sender(settings.mail_from, settings.public_url),
            link_key.get,
            clock=clock,
        )
        mailer = Mailer(
            ledger,
            wishes,
            writer,
            door or choices.mail_door(settings),
            choices.mail_guard(settings),
            metrics,
            clock=clock,
        )
        teller = Teller(
            ledger,
            watched.tasks.cache,
            [addressees, subscribers],
            clock=clock,
            noted=[mailer.wake, deliverer.wake],
            of_schedule=addressees.of_schedule,
        )
        watched.schedules.cache.on_change(teller.notice_schedule)
        return cls(
            teller,
            wishes,
            link_key,
            writer,
            addressees,
            mailer,
            subscriptions,
            subscribers,
            deliverer,
        )

    def start(self, supervisor: Supervisor) -> None:
        """Let them work."""
        supervisor.start("the teller", self.teller.run())
        supervisor.start("the look at subscriptions", self.subscribers.run())
        supervisor.start("the deliverer", self.deliverer.run())
        supervisor.start("the list of who wants mails", self.addressees.run())
        supervisor.start("the mailer", self.mailer.run())
