"""What users can get wrong. Every message says what was found and what was expected; the hint says what to do."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """What a library says of an error, for a message of one line."""
    return " ".join(str(error).split())


class ToolkitError(Exception):
    """A mistake or condition the user can mend. The command line prints it as one line and exits with 2.

    message : str, what was found and what was expected
    hint : str, what to do about it
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} — {self.hint}" if self.hint else self.message


class DataError(ToolkitError):
    """A data file, frame or split that cannot be used."""


class ConfigError(ToolkitError):
    """A configuration with an unknown field or a value out of range."""


class ModelError(ToolkitError):
    """A model folder, checkpoint or weight file that cannot be used."""


class TrainingError(ToolkitError):
    """A training run that diverged."""


class StorageError(ToolkitError):
    """A folder that cannot be written or a disk that is full."""


class DeviceError(ToolkitError):
    """A device that is absent or out of memory."""


class JobError(ToolkitError):
    """A run folder or worker process in a state that does not allow what was asked."""
