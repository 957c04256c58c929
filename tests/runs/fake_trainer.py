"""A trainer that follows the contract of run folders without training anything: fast, and as odd as a test wants."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from pathlib import Path

import psutil
from filelock import FileLock


def write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="do not look for the request to stop")
    parser.add_argument("--fail", default="")
    args = parser.parse_args()
    run: Path = args.run
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    total = float(rank)
    lock = FileLock(run / ".lock")
    if not rank:
        lock.acquire(timeout=5)  # held until the process ends
    if world > 1:
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo")
        value = torch.tensor([float(rank + 1)])
        dist.all_reduce(value)
        total = float(value)
        dist.destroy_process_group()
        if rank:
            return 0
    print(f"rank {rank} of {world}, sum {total:.0f}, colour {os.environ.get('NCCL_SOCKET_IFNAME', 'none')}")
    if args.fail == "early":
        print("error: model.depth: unknown setting; known are model.width.", file=sys.stderr)
        return 2
    first = 0
    if args.resume:
        first = int((run / "last.safetensors").read_text())
    else:
        write(run / "config.json", json.dumps({"seed": 1, "model": {"name": "fake"}}))
        write(run / "environment.json", json.dumps({"python": sys.version.split()[0]}))
        write(run / "metrics.csv", "epoch,step,seconds,kind,box,total,mAP\n")

    def status(state: str, step: int, message: str = "") -> None:
        told = {
            "state": state,
            "message": message,
            "pid": os.getpid(),
            "pid_started": psutil.Process().create_time(),
            "host": socket.gethostname(),
            "epoch": step // 5,
            "epochs": args.steps // 5,
            "step": step,
            "steps": args.steps,
            "frames_per_s": 12.5,
            "eta_s": (args.steps - step) * args.delay,
            "frozen": ["stem"] if step < args.steps // 2 else [],
            "rates": {"heads": 1e-4, "stem": 0.0 if step < args.steps // 2 else 1e-5},
            "memory_mb": 321.0,
            "gpu_memory_mb": None,
            "updated": time.time(),
        }
        write(run / "status.json", json.dumps(told))

    for step in range(first + 1, args.steps + 1):
        with open(run / "metrics.csv", "a") as table:
            table.write(f"{step // 5},{step},{step * 0.5},train,{2.0 / step:.4f},{3.0 / step:.4f},\n")
            if step % 5 == 0:
                table.write(
                    f"{step // 5},{step},{step * 0.5},validation,{2.5 / step:.4f},{3.5 / step:.4f},{step / 100}\n"
                )
        write(run / "last.safetensors", str(step))
        status("running", step)
        print(f"step {step}: total {3.0 / step:.4f}")
        if args.fail == "late" and step == 3:
            status("failed", step, "The loss is not finite in step 3.")
            return 1
        if not args.deaf and (run / "stop").exists():
            status("stopped", step, "Stopped by the user.")
            return 0
        time.sleep(args.delay)
    status("finished", args.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
