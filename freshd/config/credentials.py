"""Secrets, which come from the environment or from files it names, and from nowhere else."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from freshd.config.schema import Config
from freshd.config.values import Listen
from freshd.errors import ConfigError
from freshd.redaction import is_secret_key, printable

TOKEN = "FRESHD_TOKEN"  # noqa: S105 - the variable's name
READ_TOKEN = "FRESHD_READ_TOKEN"  # noqa: S105 - the variable's name
QDRANT_API_KEY = "FRESHD_QDRANT_API_KEY"
FILE_SUFFIX = "_FILE"
"""With this after its name, a variable names a file that holds the secret, such as a mounted one."""

MIN_TOKEN_CHARACTERS = 16
MAX_SECRET_BYTES = 4_096

_NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_MAKE_TOKEN = "export FRESHD_TOKEN=$(openssl rand -hex 32)"  # noqa: S105 - how to make one


class Secrets(BaseModel):
    """What must never be shown; None where the environment says nothing.

    Attributes:
        token: Reads and orders.
        read_token: Reads, for whoever scrapes and searches and has no business ordering anything.
        qdrant_api_key: Sent to a Qdrant server.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: SecretStr | None = None
    read_token: SecretStr | None = None
    qdrant_api_key: SecretStr | None = None

    def values(self) -> tuple[str, ...]:
        """Give every secret in the clear, for those who keep them out of sight."""
        given = (self.token, self.read_token, self.qdrant_api_key)
        return tuple(secret.get_secret_value() for secret in given if secret)


def load_secrets(environment: Mapping[str, str] | None = None) -> Secrets:
    """Read the secrets; an empty variable counts as absent, as compose files leave them.

    Args:
        environment: In place of the process's own.

    Raises:
        ConfigError: A secret is given twice, its file cannot be read, or it cannot be used; never shows its value.

    """
    # By hand rather than with pydantic-settings: its import takes 0.25 s of every `freshd status`, for six names.
    environment = os.environ if environment is None else environment
    token, read_token = _read_token(environment, TOKEN), _read_token(environment, READ_TOKEN)
    if token is not None and token == read_token:
        raise ConfigError(
            f"{READ_TOKEN}: got the value of {TOKEN}, expected another one: who knows it could order",
            hint=_MAKE_TOKEN.replace(TOKEN, READ_TOKEN),
        )
    api_key = _read(environment, QDRANT_API_KEY)
    return Secrets(token=_hidden(token), read_token=_hidden(read_token), qdrant_api_key=_hidden(api_key))


def secrets_of_sources(config: Config, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Give every value that the sources' own keys hold or name and that must not be shown.

    That is what an environment variable holds that one of them names as `${NAME}`,
    and what stands under a key such as `Authorization`.
    """
    environment = os.environ if environment is None else environment
    found = [secret for source in config.sources for secret in _secrets_in("", source.raw, environment)]
    return tuple(dict.fromkeys(found))


def _secrets_in(key: str, value: object, environment: Mapping[str, str]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner, below in value.items():
            yield from _secrets_in(str(inner), below, environment)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _secrets_in(key, below, environment)
    elif isinstance(value, str):
        yield from (environment[name].strip() for name in _NAMED.findall(value) if name in environment)
        if is_secret_key(key) and not _NAMED.search(value):
            yield from (value, value.rpartition(" ")[2])  # `Bearer` before it is no secret


def check_listen(config: Config, secrets: Secrets) -> None:
    """Refuse to listen where others can reach without a token that they would have to know.

    Raises:
        ConfigError: The address is not a loopback one and no token is given.

    """
    listen = config.http.listen
    if not listen.is_loopback and secrets.token is None:
        expected = f'expected a loopback address such as "127.0.0.1:{listen.port}", or a token in {TOKEN}'
        raise ConfigError(f'http.listen: got "{listen}" without a token, {expected}', hint=_MAKE_TOKEN)


def check_store(config: Config, secrets: Secrets) -> None:
    """Refuse a Qdrant server of another machine over a way that others can read, or that asks nobody for a key.

    Raises:
        ConfigError: Its address is no https one, or there is no API key for it.

    """
    url = config.store.url
    parts = urlsplit(str(url))
    if url is None or config.store.plain_http or Listen(parts.hostname or "", 0).is_loopback:
        return
    unless = "; or, where that network is nobody else's, say so under [store]: plain_http = true"
    if parts.scheme != "https":
        raise ConfigError(
            f'store.url: got "{url}", expected https to another machine, and a key in {QDRANT_API_KEY}',
            hint=f'serve it over https, then: url = "{parts._replace(scheme="https").geturl()}"{unless}',
        )
    if secrets.qdrant_api_key is None:
        raise ConfigError(
            f'store.url: got "{url}" without a key, expected one in {QDRANT_API_KEY} for another machine',
            hint=f"export {QDRANT_API_KEY}=THE_KEY_OF_THAT_SERVER{unless}",
        )


def _hidden(text: str | None) -> SecretStr | None:
    return None if text is None else SecretStr(text)


def _read_token(environment: Mapping[str, str], name: str) -> str | None:
    token = _read(environment, name)
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        got = f"got {len(token)} characters, expected at least {MIN_TOKEN_CHARACTERS}"
        raise ConfigError(f"{name}: {got}", hint=_MAKE_TOKEN.replace(TOKEN, name))
    return token


def _read(environment: Mapping[str, str], name: str) -> str | None:
    direct, file = environment.get(name, ""), environment.get(name + FILE_SUFFIX, "")
    if direct and file:
        both = f"{name} and {name}{FILE_SUFFIX}"
        raise ConfigError(f"{both}: got both, expected one of them", hint=f"unset {name}")
    text = _read_file(name + FILE_SUFFIX, Path(file)) if file else direct
    # It travels in an HTTP header: anything else would be cut or refused there, one request at a time.
    if not all("!" <= char <= "~" for char in text):
        where = name + FILE_SUFFIX if file else name
        got = "got a space, control or non-ASCII character, expected ASCII without spaces"
        raise ConfigError(f"{where}: {got}", hint=f"set {where} to the bare secret")
    return text or None


def _read_file(where: str, path: Path) -> str:
    shown = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{where}: {shown} cannot be read: {reason}", hint=f"unset {where}") from error
    if not content.strip() or len(content) > MAX_SECRET_BYTES:
        raise ConfigError(
            f"{where}: {shown} holds {len(content) or 'no'} bytes, expected a secret", hint=f"unset {where}"
        )
    return content.decode("latin-1").strip()
