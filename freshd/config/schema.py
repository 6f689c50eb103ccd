"""Shape of a config: what may be written in `freshd.toml`, and what the rest of freshd gets.

`ConfigFile` is the file as written, `Config` the whole that can be used:
places resolved, every source's own options validated by its connector.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from freshd.config.values import (
    CollectionName,
    Count,
    Duration,
    Host,
    Listen,
    ListenAddress,
    LocalPath,
    Objective,
    PlainText,
    PositiveSize,
    ServerUrl,
    Share,
    Size,
    SourceNameText,
    expected,
)

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Section(BaseModel):
    """A table of the config: types are taken at their word, unknown keys refused, values never reassigned."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class StoreSection(Section):
    """Where points live.

    Attributes:
        url: Of a Qdrant server; None means embedded.
        plain_http: The server of another machine may be asked unencrypted, and without a key, because nobody else is
            on that network.

    """

    url: ServerUrl | None = None
    plain_http: bool = False
    collection: CollectionName = "knowledge"


class EmbeddingSection(Section):
    """What makes vectors: `bundled`, a fastembed name, or a folder with an ONNX model."""

    model: PlainText = "bundled"


class HttpSection(Section):
    """Where the endpoint listens, and the host names it answers to beside the loopback ones."""

    listen: ListenAddress = Listen("127.0.0.1", 8377)
    allowed_hosts: Annotated[tuple[Host, ...], Field(strict=False)] = ()


class HistorySection(Section):
    """How long finished changes are remembered."""

    keep_for: Duration = timedelta(days=90)


class GuardSection(Section):
    """How many deletions of one source pass without a person: the larger of the two."""

    documents: Count = 20
    share: Share = 0.2


class GenerationsSection(Section):
    """How long the index that another model or recipe made is kept to go back to."""

    keep_for: Duration = timedelta(days=1)


class LogSection(Section):
    """How talk looks, and how much of it there is."""

    format: LogFormat = "auto"
    level: LogLevel = "info"


class CacheSection(Section):
    """How much disk remembered vectors may take."""

    max_bytes: PositiveSize = 2**30


class DiskSection(Section):
    """How much free disk is left alone; 0 uses it up."""

    reserve_bytes: Size = 256 * 2**20


class CompareSection(Section):
    """Where the report of the last `freshd compare` lies, for the metrics; None for nowhere."""

    report: LocalPath | None = None


class Sections(Section):
    """What a config says beside its sources."""

    state_dir: LocalPath = Path(".freshd")
    store: StoreSection = StoreSection()
    embedding: EmbeddingSection = EmbeddingSection()
    http: HttpSection = HttpSection()
    history: HistorySection = HistorySection()
    guard: GuardSection = GuardSection()
    generations: GenerationsSection = GenerationsSection()
    log: LogSection = LogSection()
    cache: CacheSection = CacheSection()
    disk: DiskSection = DiskSection()
    compare: CompareSection = CompareSection()


class SourceKeys(Section):
    """The keys every source has, whatever its connector.

    Attributes:
        keep_for: How long a document stays that its source no longer shows; None leaves it to the connector.
        canary_path: Where the connector may write a document to prove freshness end to end; None for no canary.

    """

    name: SourceNameText
    type: PlainText
    freshness_target: Duration = timedelta(minutes=5)
    objective: Objective = 0.99
    objective_window: Duration = timedelta(days=28)
    poll_interval: Duration | None = None
    canary_path: PlainText | None = None
    keep_for: Duration | None = None


class SourceTable(SourceKeys):
    """One `[[sources]]` table as written; keys that are not common are the connector's."""

    model_config = ConfigDict(extra="allow")


class SourceConfig(SourceKeys):
    """A source, ready to be opened by `connector(options, context)`.

    Attributes:
        connector: The class named by `type`; None when the config was loaded without connectors.
        options: Validated instance of the connector's `Options`; None when loaded without connectors.
        raw: The connector's own keys as written.

    """

    # Options may carry credentials for the source, in a URL or a header: they stay out of every repr.
    connector: Any = Field(default=None, repr=False)
    options: Any = Field(default=None, repr=False)
    raw: Mapping[str, Any] = Field(default_factory=dict, repr=False)


def _must_be_tables(value: object) -> object:
    # `[sources]` instead of `[[sources]]` is the slip to expect here, so the answer shows the brackets.
    if not isinstance(value, list):
        raise expected("at least one [[sources]]")
    return value


class ConfigFile(Sections):
    """A config as written."""

    sources: Annotated[tuple[SourceTable, ...], Field(strict=False), BeforeValidator(_must_be_tables)] = ()


class Config(Sections):
    """A whole config, every value checked.

    Attributes:
        base: Folder of the config file; absolute.
        state_dir: Absolute.

    """

    base: Path
    sources: tuple[SourceConfig, ...]
