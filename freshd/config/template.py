"""The config that `freshd init` writes: it loads as it is, and again with every key uncommented."""

TEMPLATE = """\
# freshd.toml: which sources freshd keeps searchable, and how fresh.
# A line that begins with "# " and a key shows that key with its default, or with an example.
# Durations: "500ms", "30s", "15m", "2h", "28d", "1h30m". Sizes: bytes, or "50MiB", "1GB".
# Secrets never stand here: FRESHD_TOKEN and FRESHD_QDRANT_API_KEY,
# or FRESHD_TOKEN_FILE and FRESHD_QDRANT_API_KEY_FILE, bring them from the environment.

# Where freshd keeps its ledger, cache and index; relative to this file.
state_dir = ".freshd"

# Without a url, the index is embedded in freshd; with one, it is a collection on that Qdrant server.
[store]
# url = "http://localhost:6333"
# A server of another machine needs https and a key in FRESHD_QDRANT_API_KEY, unless that network is nobody else's.
# plain_http = false
# collection = "knowledge"

# "bundled" needs no download; else the name of a fastembed model, or a folder with an ONNX model.
[embedding]
# model = "bundled"

# Another address than a loopback one needs a token. Port 0 lets the system choose.
[http]
# listen = "127.0.0.1:8377"
# allowed_hosts = ["freshd.example.org"]

# How long finished changes are remembered.
[history]
# keep_for = "90d"

# Another model, or another freshd, fills another index beside the one that is searched; then it takes its place.
# The former one is kept for so long, and going back to it costs no more than what changed since.
[generations]
# keep_for = "1d"

# More deletions at once than both of these wait for: freshd deletions approve SOURCE
[guard]
# documents = 20
# share = 0.2

# format: "auto" is "console" on a terminal, else "json". level: "debug", "info", "warning" or "error".
[log]
# format = "auto"
# level = "info"

# How much disk remembered vectors may take.
[cache]
# max_bytes = "1GiB"

# freshd stops writing while less than this is free.
[disk]
# reserve_bytes = "256MiB"

# The report of `freshd compare` whose figures stand among the metrics.
[compare]
# report = "freshd-compare/report.json"

# A folder of documents. What .gitignore and .freshdignore name is left out. **/*.md takes README.MD as well.
[[sources]]
name = "documents"
type = "files"
path = "."
include = ["**/*.md", "**/*.rst", "**/*.txt", "**/*.html", "**/*.pdf", "**/*.docx", "**/*.pptx", "**/*.xlsx"]
freshness_target = "1m"
# objective = 0.99
# objective_window = "28d"
# poll_interval = "30s"
# exclude = ["drafts/**"]
# A file of freshd's own, which it writes, edits and deletes to time the whole way; nobody else's is touched.
# canary_path = "freshd-canary.md"

# A feed: RSS, Atom or JSON Feed.
# [[sources]]
# name = "news"
# type = "feed"
# url = "https://example.org/feed.xml"
# freshness_target = "30m"
# keep_for = "365d"
"""
"""Text of a new `freshd.toml`."""
