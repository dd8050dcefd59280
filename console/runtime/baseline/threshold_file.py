"""Checks a file of thresholds, which an operator may have edited or a disk damaged."""

from __future__ import annotations

from pathlib import Path

from console.core.baseline import thresholds
from console.core.text.formatting import sanitize_text
from console.system.config.loader import MAX_BYTES


def thresholds_file_error(path: Path) -> str | None:
    """Return the error in words, with the file and its keys.

    None if the file is valid or does not exist.
    """
    import tomllib

    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(MAX_BYTES).decode("utf-8-sig"))
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        reason = f"cannot be understood: {sanitize_text(str(error), 100)}"
    else:
        reason = "; ".join(thresholds.invalid_entries(document))
    if not reason:
        return None
    return (
        f"{path}: {reason}: what is built in counts instead, until a baseline passes or you mend it"
    )
