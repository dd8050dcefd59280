"""What a resource limit of the system or the user has stopped, in a sentence that names the limit.

It is loaded before anything can fail: with no descriptor left, nothing more can be imported.
"""

from __future__ import annotations

import errno

_FILES = "the limit of open files is reached: raise it (ulimit -n 1024, LimitNOFILE=)"
_TABLE = "the system's limit of open files is reached: raise it (sysctl fs.file-max)"
_TASKS = (
    "no further process or thread can be started: raise the limit of processes (ulimit -u,"
    " pids.max, TasksMax=) or of memory (ulimit -v)"
)
_MEMORY = "there is not enough memory: raise its limit (ulimit -v, memory.max, MemoryMax=)"
_SIZE = "the limit of a file's size is reached: raise it (ulimit -f)"

_BY_ERRNO = {
    errno.EMFILE: _FILES, errno.ENFILE: _TABLE, errno.EAGAIN: _TASKS, errno.ENOMEM: _MEMORY,
    errno.EFBIG: _SIZE,
}  # fmt: skip


def reached(error: BaseException) -> str | None:
    """The sentence for an error that a limit has caused; None for any other error."""
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _TASKS
    if isinstance(error, ImportError) and "failed to map segment" in str(error):
        return _MEMORY
    return None
