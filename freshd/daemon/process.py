"""The daemon as a process: takes its address, then its state, then listens to signals until one ends it.

SIGTERM, SIGINT   finish the batch in hand and end with 0; the second one leaves at once
SIGHUP            read the config again; an invalid one keeps the old and says so
"""

import faulthandler
import os
import secrets as random
import select
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from freshd import __version__, logs
from freshd.compose import cannot_open, open_whole
from freshd.config import Config, Secrets, check_listen, check_store, load, load_secrets, secrets_of_sources
from freshd.daemon import manager
from freshd.daemon.control import LiveControl
from freshd.daemon.live import Live
from freshd.errors import ConfigError, FreshdError, StateInUse
from freshd.http.binding import bind
from freshd.ledger.troubles import LedgerDiskFull, LedgerLocked
from freshd.logs import Event, get_logger
from freshd.state import StateDirectory

if TYPE_CHECKING:
    from freshd.http.server import Server

_TICK_S = 1.0
_TICKS_PER_STATUS = 5
_THREADS_S = 1.0
"""For threads to end that were told to; those that wait for a server may take half a minute."""

_RELOAD_PATIENCE_S = 45.0
"""For a call to the store that was under way when the config was read again: a server may take half a minute."""

_INTERRUPTED = 130


class _Signals:
    """What was asked for by signal, as flags that the main thread looks at."""

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @contextmanager
    def handled(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def pause(self, timeout_s: float) -> None:
        """Wait until a signal comes or the time is up."""
        if select.select([self._read], [], [], timeout_s)[0]:
            os.read(self._read, 1_024)

    def _note(self, number: int, _: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(self._write, b"!")  # a pipe, because an event's lock might be held by the very code interrupted
        if number == signal.SIGHUP:
            self.reload = True
        elif self.stop:
            os._exit(_INTERRUPTED)  # asked twice: leave at once; what was in hand is redone next time
        else:
            self.stop = True


def run(path: Path) -> int:
    """Run until a signal ends it.

    Args:
        path: The config file.

    Returns:
        The exit code: 0 when asked to end, 1 when something died that must not.

    Raises:
        FreshdError: It could not begin.

    """
    config, secrets = load(path), load_secrets()
    check_listen(config, secrets)
    check_store(config, secrets)
    logs.configure(config.log.format, config.log.level, never_waits=True)
    logs.hide(*secrets.values(), *secrets_of_sources(config))
    faulthandler.enable()  # a service manager ends what hangs by SIGABRT: where every thread stood is told then
    try:
        return _Daemon(path, config, secrets).run()
    finally:
        logs.finish()


class _Daemon:
    """One process: an endpoint that stays, and what is live behind it."""

    def __init__(self, path: Path, config: Config, secrets: Secrets) -> None:
        self._path = path
        self._config = config
        self._former: Config | None = None
        self._secrets = secrets
        self._token = secrets.token.get_secret_value() if secrets.token else random.token_urlsafe(32)
        self._signals = _Signals()
        self._control = LiveControl()
        self._log = get_logger()

    def run(self) -> int:
        logs.hide(self._token)
        listener = bind(self._config.http.listen)
        # The web framework takes half a second to import: only now that the address is ours.
        from freshd.http.app import build_app
        from freshd.http.gate import Gate
        from freshd.http.server import Server

        with ExitStack() as stack:
            stack.enter_context(self._signals.handled())
            stack.callback(listener.close)
            read_token = self._secrets.read_token
            gate = Gate(self._config.http, self._token, read_token.get_secret_value() if read_token else None)
            app = build_app(self._control, gate)
            server = Server(app, listener)
            stack.callback(server.stop)
            code = self._serve_patiently(server, is_first=True)
            while code is None:
                code = self._serve_patiently(server)
        logs.finish()
        if _is_held_up():
            _leave(code)
        return code

    def _serve_patiently(self, server: "Server", *, is_first: bool = False) -> int | None:
        """Run under the present config, or under the former one if it turns out that this one cannot be opened.

        What another program keeps for itself is waited for, and room that it took more of than was asked for before:
        neither is a fault of the config, nor a reason to end.
        But where another freshd was there first, this one is one too many; what comes while it stands by is a command.
        """
        config_error: str | None = None
        while True:
            try:
                return self._serve(server, config_error=config_error)
            except (StateInUse, LedgerDiskFull) as error:
                is_held_by_freshd = not isinstance(error, LedgerLocked | LedgerDiskFull)
                if is_held_by_freshd and is_first and not self._control.waits_for:
                    raise
                if not self._stand_by(server, error):
                    return 0
            except FreshdError as error:
                if self._former is None:
                    raise
                self._refuse(error)
                self._config, self._former, config_error = self._former, None, str(error)

    def _serve(self, server: "Server", *, config_error: str | None = None) -> int | None:
        """Run under the present config; give the exit code, or None to go on under another one."""
        if not self._has_room(server):
            return 0
        with open_whole(self._config, self._secrets, must_open_store=False, parses_aside=True) as whole:
            self._control.waits_for = ""
            former = self._control.jobs
            live = Live(whole, config_error=config_error, former_jobs=former, endpoint=server.pulse)
            self._control.jobs = live.jobs
            if not server.is_alive():
                server.start()
            live.start()
            self._former = None  # this one runs: what fails from now on is no fault of its text
            self._control.live = live
            try:
                # Only now: who reads where the daemon is finds it able to answer.
                StateDirectory(self._config.state_dir).publish_daemon(server.address, self._token)
                self._log.info(
                    Event.DAEMON_STARTED,
                    version=__version__,
                    endpoint=f"http://{server.address}",
                    sources=[target.name for target in whole.targets],
                    pid=os.getpid(),
                )
                manager.tell("READY=1")
                code = self._watch_over(live, server)
                if code is not None:
                    manager.tell("STOPPING=1")
            finally:
                self._control.live = None
                hanging = live.stop()
            for name in hanging:
                self._log.warning(Event.SOURCE_FAILED, source=name, error="hangs in a look, which was left behind")
            if code is None:
                self._wait_for_the_writer(live)
            if live.is_writing:
                self._log.error(Event.DAEMON_STOPPED, reason="the store or a source did not answer in time")
                _leave(1 if code is None else code)
        if code is not None:
            self._log.info(Event.DAEMON_STOPPED)
        return code

    def _wait_for_the_writer(self, live: Live) -> None:
        """Give a call to the store that is still under way its time: a new config is no reason to end."""
        ends_s = time.monotonic() + _RELOAD_PATIENCE_S
        while live.is_writing and not self._signals.stop and time.monotonic() < ends_s:
            manager.tell("WATCHDOG=1")
            self._signals.pause(_TICK_S)

    def _has_room(self, server: "Server") -> bool:
        """Wait while the disk is too full to open anything; False when told to end.

        Raises:
            StoreUnavailable: It is for the new config alone.

        """
        while trouble := cannot_open(self._config):
            if self._former is not None and cannot_open(self._former) is None:
                raise trouble
            if not self._stand_by(server, trouble):
                return False
        return not self._signals.stop

    def _stand_by(self, server: "Server", trouble: FreshdError) -> bool:
        """Listen for a moment while something keeps all from being opened, and say what; False when told to end."""
        if not self._control.waits_for:
            if not server.is_alive():
                server.start()
            manager.tell("READY=1")  # it answers, with the reason; a start that waits would be given up
            self._log.error(Event.STORE_LOST, error=str(trouble), hint=trouble.hint)
        self._control.waits_for = str(trouble)
        manager.tell("WATCHDOG=1")
        self._signals.pause(_TICK_S)
        if self._signals.reload:  # it may be what makes room: less that is reserved, or another model
            self._signals.reload = False
            self._reload(None)
            manager.tell("READY=1")
        return not self._signals.stop

    def _watch_over(self, live: Live, server: "Server") -> int | None:
        n_ticks = 0
        while True:
            if self._signals.stop:
                return 0
            if self._signals.reload:
                self._signals.reload = False
                if self._reload(live):
                    return None
            if live.ledger_failure is not None:
                self._log.error(Event.LEDGER_FAILED, error=str(live.ledger_failure), hint=live.ledger_failure.hint)
                _leave(1)  # as if killed: to close the ledger would be to go on writing it
            if not server.is_alive():
                self._log.error(Event.THREAD_DIED, thread=server.pulse.name, exc_info=server.failure)
                return 1
            if not live.tick():
                return 1
            if live.is_turning:
                manager.tell("WATCHDOG=1")
            if n_ticks % _TICKS_PER_STATUS == 0:
                with suppress(sqlite3.OperationalError):  # there is a next time
                    live.report_statuses()
            n_ticks += 1
            self._signals.pause(_TICK_S)

    def _reload(self, live: Live | None) -> bool:
        """Read the config again; tell whether there is another one to run under."""
        manager.tell_reloading()
        try:
            config = load(self._path)
            check_listen(config, self._secrets)
            check_store(config, self._secrets)
            logs.hide(*secrets_of_sources(config))
            if config.http != self._config.http or config.state_dir != self._config.state_dir:
                raise ConfigError(
                    "http and state_dir: got other ones, expected those freshd was started with",
                    hint="restart freshd to change them",
                )
        except FreshdError as error:
            if live is not None:
                live.config_error = str(error)
            self._refuse(error)
            manager.tell("READY=1")
            return False
        if live is not None and (trouble := cannot_open(config)):
            self._put_off(live, trouble)
            return False
        self._config, self._former = config, self._former or self._config  # the last one that ran, if any did
        logs.configure(config.log.format, config.log.level, never_waits=True)
        self._log.info(Event.CONFIG_RELOADED)
        return True

    def _put_off(self, live: Live, trouble: FreshdError) -> None:
        """Read the config once more at the next tick; what runs could not be opened anew either, and goes on."""
        self._signals.reload = True
        if live.config_error != str(trouble):
            live.config_error = str(trouble)
            self._refuse(trouble)
        manager.tell("READY=1")

    def _refuse(self, error: FreshdError) -> None:
        self._log.error(Event.CONFIG_REFUSED, error=str(error), hint=error.hint or None)


def _is_held_up() -> bool:
    """Tell whether a thread hangs in somebody else's code: the interpreter would wait for it at its exit.

    For daemon threads as well, where they belong to a pool: pools inherit that from whoever made them.
    """
    ends_s = time.monotonic() + _THREADS_S
    others = [one for one in threading.enumerate() if one is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, ends_s - time.monotonic()))
    return any(thread.is_alive() for thread in others)


def _leave(code: int) -> NoReturn:
    """End although a thread hangs in somebody else's code; everything of ours is durable or redone."""
    logs.finish()
    os._exit(code)
