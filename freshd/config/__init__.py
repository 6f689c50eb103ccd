"""What the operator wants: read from `freshd.toml` and the environment, checked whole before anything starts.

Nothing here opens a source, a store or the network; connectors are imported only by `load`, and only those in use.
"""

from freshd.config.connectors import ConnectorEntry, ConnectorTypes, installed_connector_types
from freshd.config.credentials import Secrets, check_listen, check_store, load_secrets, secrets_of_sources
from freshd.config.loading import load
from freshd.config.schema import (
    CacheSection,
    Config,
    DiskSection,
    EmbeddingSection,
    GuardSection,
    HistorySection,
    HttpSection,
    LogFormat,
    LogLevel,
    LogSection,
    SourceConfig,
    StoreSection,
)
from freshd.config.template import TEMPLATE
from freshd.config.values import Listen

__all__ = [
    "TEMPLATE",
    "CacheSection",
    "Config",
    "ConnectorEntry",
    "ConnectorTypes",
    "DiskSection",
    "EmbeddingSection",
    "GuardSection",
    "HistorySection",
    "HttpSection",
    "Listen",
    "LogFormat",
    "LogLevel",
    "LogSection",
    "Secrets",
    "SourceConfig",
    "StoreSection",
    "check_listen",
    "check_store",
    "installed_connector_types",
    "load",
    "load_secrets",
    "secrets_of_sources",
]
