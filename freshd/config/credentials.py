"""Secrets, which come from the environment or from files it names, and from nowhere else."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from freshd.config.schema import Config
from freshd.errors import ConfigError
from freshd.redaction import printable

TOKEN = "FRESHD_TOKEN"  # noqa: S105 - the variable's name
QDRANT_API_KEY = "FRESHD_QDRANT_API_KEY"
FILE_SUFFIX = "_FILE"
"""With this after its name, a variable names a file that holds the secret, such as a mounted one."""

MIN_TOKEN_CHARACTERS = 16
MAX_SECRET_BYTES = 4_096

_MAKE_TOKEN = "export FRESHD_TOKEN=$(openssl rand -hex 32)"  # noqa: S105 - how to make one


class Secrets(BaseModel):
    """What must never be shown; None where the environment says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: SecretStr | None = None
    qdrant_api_key: SecretStr | None = None

    def values(self) -> tuple[str, ...]:
        """Give every secret in the clear, for those who keep them out of sight."""
        return tuple(secret.get_secret_value() for secret in (self.token, self.qdrant_api_key) if secret)


def load_secrets(environment: Mapping[str, str] | None = None) -> Secrets:
    """Read the secrets; an empty variable counts as absent, as compose files leave them.

    Args:
        environment: In place of the process's own.

    Raises:
        ConfigError: A secret is given twice, its file cannot be read, or it cannot be used; never shows its value.

    """
    # By hand rather than with pydantic-settings: its import takes 0.25 s of every `freshd status`, for four names.
    environment = os.environ if environment is None else environment
    token, api_key = _read(environment, TOKEN), _read(environment, QDRANT_API_KEY)
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        got = f"got {len(token)} characters, expected at least {MIN_TOKEN_CHARACTERS}"
        raise ConfigError(f"{TOKEN}: {got}", hint=_MAKE_TOKEN)
    return Secrets(token=_hidden(token), qdrant_api_key=_hidden(api_key))


def check_listen(config: Config, secrets: Secrets) -> None:
    """Refuse to listen where others can reach without a token that they would have to know.

    Raises:
        ConfigError: The address is not a loopback one and no token is given.

    """
    listen = config.http.listen
    if not listen.is_loopback and secrets.token is None:
        expected = f'expected a loopback address such as "127.0.0.1:{listen.port}", or a token in {TOKEN}'
        raise ConfigError(f'http.listen: got "{listen}" without a token, {expected}', hint=_MAKE_TOKEN)


def _hidden(text: str | None) -> SecretStr | None:
    return None if text is None else SecretStr(text)


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
