"""Translates errors caused by a resource limit into a sentence that names the limit.

The module is imported at start: without a free file descriptor, no further import succeeds.
"""

from __future__ import annotations

import errno

_PROCESS_FILES_MESSAGE = (
    "the limit of open files is reached: raise it (ulimit -n 1024, LimitNOFILE=)"
)
_SYSTEM_FILES_MESSAGE = "the system's limit of open files is reached: raise it (sysctl fs.file-max)"
_TASKS_MESSAGE = (
    "no further process or thread can be started: raise the limit of processes (ulimit -u,"
    " pids.max, TasksMax=) or of memory (ulimit -v)"
)
_MEMORY_MESSAGE = "there is not enough memory: raise its limit (ulimit -v, memory.max, MemoryMax=)"
_FILE_SIZE_MESSAGE = "the limit of a file's size is reached: raise it (ulimit -f)"

_BY_ERRNO = {
    errno.EMFILE: _PROCESS_FILES_MESSAGE, errno.ENFILE: _SYSTEM_FILES_MESSAGE,
    errno.EAGAIN: _TASKS_MESSAGE, errno.ENOMEM: _MEMORY_MESSAGE, errno.EFBIG: _FILE_SIZE_MESSAGE,
}  # fmt: skip


def limit_message(error: BaseException) -> str | None:
    """Return the sentence for an error caused by a resource limit; None for any other error."""
    if isinstance(error, MemoryError):
        return _MEMORY_MESSAGE
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _TASKS_MESSAGE
    if isinstance(error, ImportError) and "failed to map segment" in str(error):
        return _MEMORY_MESSAGE
    return None
