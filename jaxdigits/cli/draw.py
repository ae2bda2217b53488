"""`jaxdigits draw`: a page in the browser to draw on."""

from typing import Annotated

from jaxdigits.cli.options import File


def draw(
    network: Annotated[str, {"metavar": "RUN"}] = "digits",
    hand: File = None,
    port: int | None = None,
    no_browser: bool = False,
) -> None:
    """Open a page in the browser: draw a character, and see what the network reads.

    Other machines and other sites cannot use it. Ctrl-C ends it.

    Args:
        network: digits, letters, or characters (both), which come with the package; or a run
            folder.
        hand: a file for corrections: tell the network what it misreads, and it reads that right.
        port: to listen on. Default: a free one.
        no_browser: only print the address.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    import signal
    import threading
    import webbrowser

    from jaxdigits.runs.folder import load
    from jaxdigits.web import PageServer

    with PageServer(load(network), port or 0, hand) as server:
        print(f"{server.url}\nCtrl-C ends it.", flush=True)
        if not no_browser:
            # A browser of the terminal would not come back.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
