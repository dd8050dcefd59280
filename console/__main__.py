"""The way in: `rpa-console`, and `python -m console`."""

from console.system.turn import Turn


def main() -> None:
    """Load when it is our turn, then do as the command line says."""
    turn = Turn()
    from console import cli  # this is what takes its time

    cli.main(turn)


if __name__ == "__main__":
    main()
