"""The errors a user may see: each is one sentence that says what, where and how to fix it.

BackchatError
├── SettingsError        config.toml or an environment override is wrong
├── CorpusError          the chat database cannot be opened, read or written
├── ImportFileError      a log file cannot be understood
├── CheckpointError      a checkpoint is missing, incomplete or does not fit
├── TrainingError        a run cannot start or go on
├── ChatError            a chat service refused or went away
└── SignInError          a token is missing, dead or lacks a scope
"""


class BackchatError(Exception):
    """Ends a command with its sentence on stderr and exit code 1; `--debug` adds the traceback."""


class SettingsError(BackchatError):
    pass


class CorpusError(BackchatError):
    pass


class ImportFileError(BackchatError):
    pass


class CheckpointError(BackchatError):
    pass


class TrainingError(BackchatError):
    pass


class ChatError(BackchatError):
    pass


class SignInError(BackchatError):
    pass
