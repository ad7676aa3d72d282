"""E-mail."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from rollwave.notify.text import text_of
from rollwave.ports.notifier import ChannelError

if TYPE_CHECKING:
    from rollwave.notify.config import EmailConfig
    from rollwave.ports.notifier import Message

TIMEOUT_S: Final = 10.0


class SmtpServer(Struct, frozen=True, kw_only=True):
    """
    The server that sends our mail.

    Attributes:
        host: Its name; it is chosen by who runs Rollwave, so that no guard is asked.
        port: Its port.
        security: How the connection is protected.
        user: Who we are there; empty: nobody asks.
        password: Of the user.
        sender: The address that mail comes from.
    """

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str
    password: str
    sender: str


class MailChannel:
    """
    `Channel` to mailboxes.

    Args:
        config: Whose.
        server: Sends; None: there is none, and nothing can be sent.
        base_url: Where people reach Rollwave; empty where nobody has said.
    """

    def __init__(self, config: EmailConfig, *, server: SmtpServer | None, base_url: str) -> None:
        self._config = config
        self._server = server
        self._base_url = base_url

    async def send(self, message: Message) -> str:
        """Send *message* to all at once."""
        if self._server is None:
            raise ChannelError("no mail server is configured: name smtp_host in [notify] of rollwave.toml")
        mail = mail_of(message, to=self._config.to, sender=self._server.sender, base_url=self._base_url)
        return await asyncio.to_thread(_send, mail, self._server)


def mail_of(message: Message, *, to: tuple[str, ...], sender: str, base_url: str) -> EmailMessage:
    """Return *message* as a mail; what is about one release is one thread in the mailbox."""
    text = text_of(message, base_url=base_url)
    domain = sender.rpartition("@")[2].strip("<> ")
    mail = EmailMessage()
    # A header ends with its line: nothing that somebody wrote may begin another one.
    mail["Subject"] = " ".join(f"[Rollwave] {text.title}".split())[:200]
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = message.at
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    if message.release:
        mail["References"] = f"<deployment-{message.release.deployment_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = message.language
    mail.set_content("\n".join([*text.lines, "", f"{text.link}: {text.url}" if text.url else ""]).rstrip() + "\n")
    return mail


def _send(mail: EmailMessage, server: SmtpServer) -> str:
    context = ssl.create_default_context()
    try:
        client = (
            smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
            if server.security == "tls"
            else smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        )
        with client:
            if server.security == "starttls":
                client.starttls(context=context)
            if server.user:
                client.login(server.user, server.password)
            refused = client.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        raise ChannelError(f"no recipient was accepted: {_codes(error.recipients)}") from error
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise ChannelError(f"{error.smtp_code} {said}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise ChannelError(f"mail server: {error}") from error
    # Those that took it must not get it again: this is as much as can be had.
    return f"accepted, but not for {_codes(refused)}" if refused else "accepted"


def _codes(refused: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{who} ({code} {said.decode('utf-8', 'replace')})" for who, (code, said) in refused.items())
