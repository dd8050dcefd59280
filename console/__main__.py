"""The entry point: `rpa-console`, `python -m console`, and this file run by its path.

The wheel installs a copy of this file as the module `rpa_console`: a directory `console` in
PYTHONPATH would otherwise be imported in its place. It therefore imports nothing of the package
before the import path has been put in order.
"""

import os
import sys


def order_import_path() -> None:
    """Let nothing in the working directory, the script's directory or PYTHONPATH shadow a module.

    The first two are removed. The directories of PYTHONPATH come last: a dependency that is
    installed only there is still found. The environment is left as it is, for the workers.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(here) if os.path.basename(here) == "console" else here
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    late = [os.path.abspath(entry) for entry in named if entry]
    kept = sys.path if sys.flags.safe_path else sys.path[1:]
    first = [entry for entry in kept if entry and os.path.abspath(entry) not in late]
    order = dict.fromkeys([*first, root, *(entry for entry in late if entry in kept)])
    if "console" not in sys.modules:
        sys.path[:] = [root, *order]  # another directory may have a `console`, too
        import console as console
    sys.path[:] = order


def open_streams() -> None:
    """Let no descriptor that the caller has closed be taken for another file.

    A lock or a pipe would otherwise land on one of the first three, and a process that is started
    replaces those.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest one that is free
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(descriptor, mode))  # noqa: SIM115 - for the whole process


def speak_utf8() -> None:
    """Run again in UTF-8 mode where the locale has another encoding for paths.

    SQLite, systemd and the configuration have paths in UTF-8 whatever the locale. What is written
    to the terminal stays in the locale's encoding.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode:
        return
    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")[1:-1]
        os.execv(sys.executable, [os.fsencode(sys.executable), b"-X", b"utf8", *words])
    except OSError:
        return  # what is in ASCII still works


def _fail(error: Exception) -> None:
    """End with one line: the program cannot be loaded, because of a limit as a rule."""
    if os.environ.get("RPA_CONSOLE_DEBUG", "") not in ("", "0"):
        raise error
    words = f"rpa-console: cannot be loaded: {type(error).__name__}: {error}"
    if getattr(error, "errno", None) == 24:
        words = "rpa-console: the limit of open files is too low: raise it (ulimit -n 1024)"
    os.write(2, ascii(words)[1:-1].encode() + b"\n")
    os._exit(3)


def main() -> None:
    """Do as the command line says."""
    try:
        open_streams()
        speak_utf8()
        order_import_path()
        from console.cli import (
            main as cli,  # loading takes time: an interrupt meanwhile ends without a trace
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _fail(error)
    cli.main()


if __name__ == "__main__":
    main()
