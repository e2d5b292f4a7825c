"""A message by email, through an SMTP server."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from pydantic import Field, model_validator

from pipeline_tasks import sources
from pipeline_tasks.core.errors import ConfigError

PORTS = {"starttls": 587, "tls": 465, "none": 25}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FOR_A_MOMENT = range(400, 500)


class Params(sources.Patience):
    """From whom, to whom, and by which server: host, port, login and password are a connection's.

    notifiers:
      - {kind: email, connection: mail, from: perennial@shop.example, to: [ml-team@shop.example]}
    """

    connection: str = Field(description="Of Airflow, or in AIRFLOW_CONN_<NAME>.")
    sender: str = Field(alias="from", pattern=r"^[^@\s]+@[^@\s]+$")
    to: tuple[str, ...] = Field(min_length=1)
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none: in plain text, and without a login beyond this machine."
    )
    timeout_seconds: sources.Timeout = 10.0

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, content: object) -> object:
        return sources.refuse_secrets(content)


def notify(params: Params, *, title: str, text: str) -> None:
    """Send it, again with growing waits while the server is busy or away.

    Raises TransientError when it stays so, ConfigError when the server refuses.
    """
    server = sources.connection(params.connection)
    where = f"the SMTP server {server.host}"
    _check_plain(params, server, where)
    message = _message(params, title, text)
    sources.patiently(lambda: _send(params, server, message, where), params, what=where)


def _message(params: Params, title: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = " ".join(title.split())
    message["From"], message["To"] = params.sender, ", ".join(params.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=params.sender.partition("@")[2])
    message.set_content(text)
    return message


def _send(params: Params, server: sources.Connection, message: EmailMessage, where: str) -> None:
    password = server.password.get_secret_value()
    try:
        with _connected(params, server) as client:
            if server.login:
                client.login(server.login, password)
            client.send_message(message)
    except ssl.SSLCertVerificationError as error:
        raise _refused(
            where, f"its certificate is not to be trusted: {error.verify_message}"
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        told = "; ".join(f"{to}: {code}" for to, (code, _) in error.recipients.items())
        raise _answer(where, min(codes), f"nobody takes this: {told}") from None
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error
        text = text.decode(errors="replace") if isinstance(text, bytes) else text
        told = sources.hide(text, [password])
        raise _answer(where, error.smtp_code, f"{error.smtp_code} {told}") from None
    except smtplib.SMTPNotSupportedError as error:
        raise _refused(where, str(error)) from None
    except (OSError, smtplib.SMTPException) as error:
        told = sources.hide(f"{type(error).__name__}: {error}", [password])
        raise sources.Busy(told) from None


def _connected(params: Params, server: sources.Connection) -> smtplib.SMTP:
    port, timeout = server.port or PORTS[params.security], params.timeout_seconds
    if params.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, port, timeout=timeout, context=context)
    client = smtplib.SMTP(server.host, port, timeout=timeout)
    if params.security == "starttls":
        try:
            client.starttls(context=ssl.create_default_context())
        except BaseException:
            client.close()
            raise
    return client


def _check_plain(params: Params, server: sources.Connection, where: str) -> None:
    if params.security == "none" and server.login and server.host not in LOOPBACK:
        raise ConfigError(
            f"{where} would be told the login in plain text",
            expected="`security: starttls` or `security: tls`, or a connection without a login",
            fix="mend the email notifier in the pipeline file",
        )


def _answer(where: str, code: int, told: str) -> Exception:
    """What passes by itself is tried again."""
    return sources.Busy(told) if code in FOR_A_MOMENT else _refused(where, told)


def _refused(where: str, problem: str) -> ConfigError:
    return ConfigError(
        f"{where}: {problem}",
        expected="that it takes the message",
        fix="look at the connection, and at the email notifier in the pipeline file",
    )
