"""`nssh`, and `python -m nssh`."""


def main() -> None:
    """Run the program; Ctrl-C while it is still being imported ends it as quietly as later."""
    try:
        from nssh.cli.main import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
