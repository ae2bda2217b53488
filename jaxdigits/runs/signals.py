"""Ctrl-C and SIGTERM in training: the first ends the run after the epoch, the second at once."""

import os
import signal
import socket
import threading
from types import TracebackType


class Interrupts:
    """Notes the first Ctrl-C or SIGTERM; the second ends the process.

    A handler in Python runs only when the main thread comes back from a compiled program, which may
    take a minute. So a thread of its own reads the signals as they arrive.

    Outside the main thread, where Python allows no handlers, it notes nothing.

    Attributes:
        received: the number of the signal that has come, or None.

    Example:
        >>> with Interrupts("finishing") as interrupts:
        ...     interrupts.received is None
        True
    """

    def __init__(self, notice: str) -> None:
        """`notice` is what to tell, on standard error, when the first signal comes."""
        self.received: int | None = None
        self._notice = notice
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        """Note signals from now on."""
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._woken = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, lambda *_: None)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put back the handlers of before."""
        if not self._handlers:
            return
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        signal.set_wakeup_fd(self._woken)
        self._writer.close()
        self._thread.join()
        self._reader.close()

    def _listen(self) -> None:
        while byte := self._reader.recv(1):
            if byte[0] not in self._handlers:
                continue
            if self.received is not None:
                os.write(2, b"\njaxdigits: stopped\n")
                os._exit(128 + byte[0])
            self.received = byte[0]
            os.write(2, f"\njaxdigits: {self._notice}\n".encode())
