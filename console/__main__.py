"""The entry point of `rpa-console`, of `python -m console`, and of this file run by its path.

The wheel installs a copy of this file as the module `rpa_console`, because a directory `console` in
PYTHONPATH would otherwise be imported instead of the package. This file therefore imports nothing
of the package before it has reordered the import path.
"""

import os
import sys


def order_import_path() -> None:
    """Prevent the working directory, script directory and PYTHONPATH from shadowing modules.

    The working directory and the script directory are removed from `sys.path`. The directories of
    PYTHONPATH are moved to its end, so a dependency that is installed only there is still found.
    The environment is not changed, because the workers inherit it.
    """
    directory = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(directory) if os.path.basename(directory) == "console" else directory
    pythonpath = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    pythonpath_dirs = [os.path.abspath(entry) for entry in pythonpath if entry]
    current = sys.path if sys.flags.safe_path else sys.path[1:]
    other_dirs = [
        entry for entry in current if entry and os.path.abspath(entry) not in pythonpath_dirs
    ]
    new_path = dict.fromkeys(
        [*other_dirs, root, *(entry for entry in pythonpath_dirs if entry in current)]
    )
    if "console" not in sys.modules:
        sys.path[:] = [root, *new_path]  # other directories may contain a `console` as well
        import console as console
    sys.path[:] = new_path


def reopen_closed_streams() -> None:
    """Open `/dev/null` for each standard stream that the caller has closed.

    A lock or a pipe would otherwise get one of the descriptors 0 to 2, which are replaced in every
    process that is started.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open() returns the lowest
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(descriptor, mode))  # noqa: SIM115 - for the whole process


def restart_in_utf8_mode() -> None:
    """Restart the interpreter in UTF-8 mode if the locale has another encoding for paths.

    SQLite, systemd and the configuration use UTF-8 paths in every locale. Output to the terminal
    stays in the locale's encoding.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode:
        return
    try:
        with open("/proc/self/cmdline", "rb") as file:
            argv = file.read().split(b"\0")[1:-1]
        os.execv(sys.executable, [os.fsencode(sys.executable), b"-X", b"utf8", *argv])
    except OSError:
        return  # ASCII paths still work


def _exit_with_load_error(error: Exception) -> None:
    """Exit with one error line and status 3, or raise the error if RPA_CONSOLE_DEBUG is set.

    The usual reason is a resource limit.
    """
    if os.environ.get("RPA_CONSOLE_DEBUG", "") not in ("", "0"):
        raise error
    message = f"rpa-console: cannot be loaded: {type(error).__name__}: {error}"
    if getattr(error, "errno", None) == 24:
        message = "rpa-console: the limit of open files is too low: raise it (ulimit -n 1024)"
    os.write(2, ascii(message)[1:-1].encode() + b"\n")
    os._exit(3)


def main() -> None:
    """Run the command line."""
    try:
        reopen_closed_streams()
        restart_in_utf8_mode()
        order_import_path()
        # The import takes time. An interrupt during it must not print a traceback.
        from console.cli import main as cli
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _exit_with_load_error(error)
    cli.main()


if __name__ == "__main__":
    main()
