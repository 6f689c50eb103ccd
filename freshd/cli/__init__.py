"""The commands: stdout is data, stderr is talk, every refusal says what mends it.

Each command asks the running daemon where there is one, and opens the state directory itself where there is none.
"""

import typer

from freshd.cli import asking, deletions, history, indexing, running, verify

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def freshd() -> None:
    """Keep a retrieval index as fresh as its sources, and prove it."""


for command in (running.init, running.run, indexing.reindex, indexing.wait, asking.search, running.demo):
    app.command()(command)
app.add_typer(deletions.app, name="deletions")
app.command(name="status")(asking.show_status)
app.command()(history.history)
app.command()(verify.verify)

__all__ = ["app"]
