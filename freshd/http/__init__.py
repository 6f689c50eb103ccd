"""The endpoint: what the daemon says and is asked over HTTP, through a `Control` handed in.

    socket ─▶ connection ─▶ gatekeeper ─▶ app ─▶ pool ─▶ Control
              (limits)      (gate)        (routes)  (threads)

`binding` comes first, in the main thread; `server` last, in a thread of its own.
Import from the modules: only `app` and `server` load the web framework, and only a daemon needs them.
"""
