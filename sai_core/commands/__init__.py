"""One module per verb of ``python -m sai_core``; each has ``add_parser(subparsers)`` and ``run(args) -> int``."""
