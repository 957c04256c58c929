"""``cache``: what the cache folder holds, and how to empty it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

from sai_core import cache
from sai_core.errors import InputError
from sai_core.files import cache_root


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "cache",
        help="list or clear what is kept to save time",
        description="List or clear what is kept to save time: maps, parsed labels, scores, spectrograms. Whatever is "
        "cleared is made again when it is needed. All of it together stays under SAI_CACHE_MAX_GB (gigabytes), by "
        "default half of what the disk has free; what was not used for longest makes room.",
        epilog="example: python -m sai_core cache clear features",
    )
    parser.add_argument("action", choices=("list", "clear"))
    parser.add_argument("namespace", nargs="?", metavar="NAMESPACE", help="one kind of entry (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List or clear."""
    held = cache.usage()
    names = [namespace.name for namespace in held]
    if args.namespace is not None and args.namespace not in names:
        there = f"there are {', '.join(names)}" if names else "the cache is empty"
        raise InputError(f"The cache holds nothing called {args.namespace}; {there}.")
    chosen = [namespace for namespace in held if args.namespace in (None, namespace.name)]
    total = sum(namespace.n_bytes for namespace in held)
    if args.action == "clear":
        count, size = cache.clear(args.namespace)
        if args.json:
            print(json.dumps({"removed_entries": count, "removed_bytes": size}))
        else:
            print(f"{count} entries removed ({size / 1e6:.1f} MB) from {cache_root()}")
        return 0
    budget = cache.budget_bytes(total)
    if args.json:
        rows = [dataclasses.asdict(namespace) for namespace in chosen]
        print(json.dumps({"path": str(cache_root()), "budget_bytes": budget, "namespaces": rows}, indent=2))
        return 0
    width = max([9, *(len(namespace.name) for namespace in chosen)])
    print(f"{'namespace':<{width}}  entries         MB  last used")
    for namespace in chosen:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(namespace.last_used))
        print(f"{namespace.name:<{width}}  {namespace.n_entries:7d}  {namespace.n_bytes / 1e6:9.1f}  {when}")
    print(f"\n{cache_root()}: {total / 1e9:.3f} of {budget / 1e9:.3f} GB (SAI_CACHE_MAX_GB)")
    return 0
