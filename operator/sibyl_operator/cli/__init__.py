"""The command line `sibyl-operator`. Modules with weight are imported by the command that needs them."""


def main() -> None:
    """Entry point of the console script."""
    from sibyl_operator.cli.app import run_command_line

    run_command_line()
