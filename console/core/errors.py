"""The errors of this project.

ConsoleError
  PathError                 a state directory or configuration path cannot be used
    NoHomeDirectoryError    the user has no home directory
  ConfigError               the configuration is invalid
  FileError                 a file cannot be read or written
    StorageTimeoutError     its storage does not answer
  StoreError                the store cannot be read or written
    StoreDamagedError       its file is damaged
    StoreVersionError       its file has a newer version
  ProcessError              the process table cannot be read, or a process cannot be used
    ProcessGone             the process has ended
  LockFileError             a lock file cannot be used
  CommandLockTimeout        another command on the role has not ended in time
  CommandRefused            a command is refused, with the reason
  HttpError                 a request to the queue server has failed
  ThemeError                a theme file is invalid
  FilterError               a row filter is no valid pattern
  NoOutputFile              an adopted worker's output is no file

`JsonError` is a ValueError, `TooManyLinksError` an OSError, as their callers expect.
"""


class ConsoleError(Exception):
    """An expected failure, whose text is fit for an operator."""
