"""The way in: `rpa-console`, and `python -m console`."""

import sys


def main() -> None:
    """Do as the command line says."""
    try:
        from console import cli  # loading takes time: an interrupt meanwhile ends without a trace
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
