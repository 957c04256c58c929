"""How many clients one server carries: blocks of the Explorer asked for as the player asks, by many browsers at once.

``python -m tests.benchmarks.bench_load`` starts the app on the demo recordings, connects clients that speak Streamlit's
protocol over its websocket (a browser each would measure the browsers), has each step through the blocks of its
recording, and prints the time from request to answer and the answers per second. Requests are bounded in number; the
server is on the loopback and ends with the script.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from pages.components import state_keys as keys
from sai_core.dataset import demo_root, open_data_root
from sai_core.viewing.player import BLOCK_FRAMES, unpack

REPOSITORY = Path(__file__).resolve().parents[2]


class Client:
    """One browser's player."""

    def __init__(self, stack: ExitStack, port: int, query: dict[str, str]) -> None:
        self.query = urlencode(query)
        self.component = self.fragment = ""
        self.data = b""
        connection = connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            origin=Origin(f"http://127.0.0.1:{port}"),
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
        )
        self.socket = stack.enter_context(connection)
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_name = "explorer"
        self.socket.send(message.SerializeToString())
        while not self.data:
            self._receive(120)
        header, parts = unpack(self.data)
        self.scene = str(header["scene"])
        scene, _ = unpack(parts["scene"])
        self.n_blocks = -(-int(scene["n_frames"]) // BLOCK_FRAMES)
        self.seq = 0

    def _receive(self, seconds: float) -> None:
        frame = self.socket.recv(timeout=seconds)
        assert isinstance(frame, bytes)
        message = ForwardMsg()
        message.ParseFromString(frame)
        if message.WhichOneof("type") != "delta":
            return
        delta = message.delta
        if delta.WhichOneof("type") == "new_element" and delta.new_element.WhichOneof("type") == "bidi_component":
            component = delta.new_element.bidi_component
            if component.bytes:
                self.component, self.fragment, self.data = component.id, delta.fragment_id, component.bytes

    def ask(self, block: int) -> float:
        """Ask for a block; seconds until it is here."""
        self.seq += 1
        request = {"seq": self.seq, "scene": self.scene, "mode": "full", "frame": block * BLOCK_FRAMES}
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.fragment_id, state.page_name = self.query, self.fragment, "explorer"
        widget = state.widget_states.widgets.add()
        widget.id = self.component
        widget.json_value = json.dumps({"request": {**request, "blocks": [block], "want": []}})
        began = time.perf_counter()
        self.socket.send(message.SerializeToString())
        while True:
            self._receive(120)
            header, parts = unpack(self.data)
            if header["ack"] == self.seq:
                assert f"block.{block}" in parts, header
                return time.perf_counter() - began


def measure(stack: ExitStack, port: int, n_clients: int, n_requests: int, pause_s: float) -> tuple[np.ndarray, float]:
    """Seconds of every request, and answers per second."""
    root = open_data_root(demo_root())
    names = [f"{r.split}/{r.name}" for r in root.recordings]
    systems = [s.name for s in root.prediction_sets]
    clients = [
        Client(
            stack, port, {keys.RECORDING: names[k % len(names)], keys.SYSTEM_A: systems[0], keys.SYSTEM_B: systems[1]}
        )
        for k in range(n_clients)
    ]
    seconds: list[list[float]] = [[] for _ in clients]

    def step(number: int) -> None:
        client = clients[number]
        for k in range(n_requests):
            seconds[number].append(client.ask((number + k) % client.n_blocks))
            time.sleep(pause_s)

    threads = [threading.Thread(target=step, args=(k,)) for k in range(n_clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return np.concatenate([np.array(s) for s in seconds]), n_clients * n_requests / took


def main() -> None:
    """Start the server, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--requests", type=int, default=20, help="per client")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between an answer and the next request")
    args = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as cache:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                "app.py",
                "--server.port",
                str(port),
                "--server.headless",
                "true",
            ],
            cwd=REPOSITORY,
            env={**os.environ, "SAI_CACHE_DIR": cache},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.2)
            process = psutil.Process(server.pid)
            print("| clients | first blocks or kept | p50 | p95 | answers/s | processor ms an answer |")
            print("| --- | --- | --- | --- | --- | --- |")
            for n_clients in args.clients:
                for kind in ("first", "kept"):
                    before = process.cpu_times()
                    with ExitStack() as stack:
                        seconds, rate = measure(stack, port, n_clients, args.requests, args.pause)
                    after = process.cpu_times()
                    spent = (after.user + after.system - before.user - before.system) / len(seconds)
                    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
                    line = (
                        f"{n_clients}",
                        kind,
                        f"{p50:.0f} ms",
                        f"{p95:.0f} ms",
                        f"{rate:.1f}",
                        f"{spent * 1000:.0f}",
                    )
                    print("| " + " | ".join(line) + " |", flush=True)
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()
