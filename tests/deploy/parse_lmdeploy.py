"""Parse an emitted `lmdeploy` command with lmdeploy's real parser; print the result as JSON.

    VENV/bin/python tests/deploy/parse_lmdeploy.py lmdeploy serve api_server export/merged --tp 2
    VENV/bin/python tests/deploy/parse_lmdeploy.py @argv.txt        # one argument a line

VENV holds tests/deploy/requirements.txt; ftc is not imported. For `serve api_server`
lmdeploy's own code then builds its engine configuration, which checks what the parser lets pass
(`--tp 0`, an unknown chat template); only the server's start and the two questions to a GPU are
replaced. Exit 2 with lmdeploy's message if it refuses.
"""

import argparse
import json
import logging
import sys
import types
import warnings
from pathlib import Path


def read_argv(given: list[str]) -> list[str]:
    """The command's arguments, without the program's name."""
    if len(given) == 1 and given[0].startswith("@"):
        given = Path(given[0][1:]).read_text(encoding="utf-8").splitlines()
    return given[1:] if given and Path(given[0]).name == "lmdeploy" else given


def real_parser() -> argparse.ArgumentParser:
    """lmdeploy's parser, made to refuse abbreviated flags: an artifact spells them out."""
    from lmdeploy.cli.cli import CLI
    from lmdeploy.cli.lite import SubCliLite
    from lmdeploy.cli.serve import SubCliServe

    for commands in (CLI, SubCliServe, SubCliLite):
        commands.add_parsers()
        commands.parser.allow_abbrev = False
        for parser in commands.subparsers.choices.values():
            parser.allow_abbrev = False
    return CLI.parser


def check_values(args: argparse.Namespace) -> None:
    """Runs lmdeploy's `serve api_server` up to the server's start; raises what lmdeploy raises."""
    import lmdeploy.archs
    import lmdeploy.cli.serve

    # These two would ask whether CUDA libraries load, and which GPU it is.
    lmdeploy.archs.autoget_backend = lambda *_, **__: args.backend
    lmdeploy.cli.serve.get_max_batch_size = lambda _: 128
    server = types.ModuleType("lmdeploy.serve.openai.api_server")
    server.serve = lambda *_, **__: None
    sys.modules[server.__name__] = server
    args.run(args)


def main() -> None:
    # lmdeploy and requests complain of optional packages, which are left out here.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    parser = real_parser()
    args = parser.parse_args(read_argv(sys.argv[1:]))  # exits with 2 by itself
    if "run" not in args:
        parser.error("no command")
    try:
        if args.run.__name__ == "api_server":
            check_values(args)
    except (AssertionError, ValueError, KeyError, TypeError) as refusal:
        print(f"lmdeploy: error: {refusal}", file=sys.stderr)
        sys.exit(2)
    plain = (str, int, float, list, dict, type(None))
    understood = {name: value for name, value in vars(args).items() if isinstance(value, plain)}
    print(json.dumps(understood, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
