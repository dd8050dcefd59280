"""The way in: `rpa-console`, and `python -m console`."""

import sys

from console.system.turn import Turn


def main() -> None:
    """Load when it is our turn, then do as the command line says."""
    try:
        turn = Turn()
        from console import cli  # this is what takes its time
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main(turn)


if __name__ == "__main__":
    main()
