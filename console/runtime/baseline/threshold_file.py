"""What is wrong with a file of thresholds that somebody has edited, or a disk has damaged."""

from __future__ import annotations

from pathlib import Path

from console.core.baseline import thresholds
from console.core.text.formatting import visible
from console.system.config.loader import MAX_BYTES


def mistake(path: Path) -> str | None:
    """In words, with the file and its keys; None where nothing is wrong, or nothing is there."""
    import tomllib

    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(MAX_BYTES).decode("utf-8-sig"))
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        why = f"cannot be understood: {visible(str(error), 100)}"
    else:
        why = "; ".join(thresholds.wrong(document))
    if not why:
        return None
    return f"{path}: {why}: what is built in counts instead, until a baseline passes or you mend it"
