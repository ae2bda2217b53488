"""What goes wrong with input from outside: a flag, a file, an image, a label, a run folder.

The message of each is one sentence for the person at the keyboard: what was wrong, and what to do.
The command line prints it and ends with exit code 2.
"""


class JaxdigitsError(Exception):
    """Any error that a better input would avoid."""


class ConfigError(JaxdigitsError):
    """A setting has a value that it cannot have.

    Not a ValueError: the command line's parser would wrap that into words of its own.
    """


class DataError(JaxdigitsError, ValueError):
    """Images, labels or data files are not what they should be."""


class DataUnavailableError(DataError):
    """A dataset is neither prepared, nor among local files, nor available for download.

    Attributes:
        reason: why it cannot be downloaded, in a few words.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        """`message` also says how to get the files by hand."""
        super().__init__(message)
        self.reason = reason


class OutputError(JaxdigitsError):
    """A file or a folder cannot be written, or is taken."""


class RunError(JaxdigitsError):
    """A folder holds no run that can be read."""


class StoppedError(JaxdigitsError):
    """A signal ended a run that can be resumed.

    Attributes:
        exit_code: of the process: 128 and the signal's number.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        """`message` says how to resume."""
        super().__init__(message)
        self.exit_code = exit_code


class ProcessLostError(JaxdigitsError):
    """One of the processes that train together has ended, or cannot be reached."""
