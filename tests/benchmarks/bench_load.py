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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from pages.components import state_keys as keys
from sai_core.dataset import demo_root, open_data_root
from sai_core.viewing.player import BLOCK_FRAMES, unpack

REPOSITORY = Path(__file__).resolve().parents[2]


class Client:
    """One browser's player."""

    def __init__(self, stack: ExitStack, port: int, query: dict[str, str]) -> None:
        self.query = urlencode(query)
        self.component = self.fragment = self.script = ""
        self.data = b""
        self.socket = _connect(stack, port)
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_name = "explorer"
        self.socket.send(message.SerializeToString())
        while not self.data:
            self._receive(120)
        self.seq = 0
        self._take_scene()
        assert "frame.0" in self.first or "block.0" in self.first, self.first

    def _take_scene(self) -> None:
        header, parts = unpack(self.data)
        self.scene = str(header["scene"])
        scene, _ = unpack(parts["scene"])
        self.n_blocks = -(-int(scene["n_frames"]) // BLOCK_FRAMES)
        self.reading: list[str] = scene["reading"]
        self.first = parts.keys()

    def _receive(self, seconds: float) -> None:
        frame = self.socket.recv(timeout=seconds)
        assert isinstance(frame, bytes)
        message = ForwardMsg()
        message.ParseFromString(frame)
        if message.WhichOneof("type") == "navigation":
            self.script = message.navigation.page_script_hash  # what a run that the page asks for itself goes by
        if message.WhichOneof("type") != "delta":
            return
        delta = message.delta
        if delta.WhichOneof("type") == "new_element" and delta.new_element.WhichOneof("type") == "bidi_component":
            component = delta.new_element.bidi_component
            if component.bytes:
                self.component, self.fragment, self.data = component.id, delta.fragment_id, component.bytes

    def see(self, frame: int) -> float:
        """Ask for a frame as the player does where the cursor jumps to; seconds until its picture is here."""
        block = frame // BLOCK_FRAMES
        seconds, parts = self._request([block], [f"frame.{frame}"])
        assert parts.keys() & {f"frame.{frame}", f"block.{block}"}, parts.keys()
        return seconds

    def ask(self, block: int) -> float:
        """Ask for a block; seconds until it is here."""
        seconds, parts = self._request([block], [])
        assert f"block.{block}" in parts, parts.keys()
        return seconds

    def wait_for_annotations(self) -> None:
        """Ask, as the player does, until all annotation files have been read."""
        while self.reading:
            _, parts = self._request([], [f"table.{table}" for table in self.reading])
            if "scene" in parts:
                self._take_scene()
            else:
                time.sleep(0.7)

    def _request(self, blocks: list[int], want: list[str]) -> tuple[float, dict[str, Any]]:
        """Seconds until the answer, and its parts."""
        self.seq += 1
        frame = blocks[0] * BLOCK_FRAMES if blocks else 0
        request = {"seq": self.seq, "scene": self.scene, "mode": "full", "frame": frame}
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.fragment_id, state.page_name = self.query, self.fragment, "explorer"
        state.page_script_hash = self.script
        widget = state.widget_states.widgets.add()
        widget.id = self.component
        widget.json_value = json.dumps({"request": {**request, "blocks": blocks, "want": want}})
        began = time.perf_counter()
        self.socket.send(message.SerializeToString())
        while True:
            self._receive(120)
            header, parts = unpack(self.data)
            if header["ack"] == self.seq:
                return time.perf_counter() - began, parts


class Page:
    """One browser on a page without a player: runs the script, and the fragments that refresh themselves.

    Attributes
    ----------
    fragments : set of str
        Parts that want to be run again after a while: something is still being computed.
    tables, components : int
        Tables, and components of our own, that have arrived.
    texts : list of str
        What Markdown elements and errors of the last run say.
    """

    def __init__(self, stack: ExitStack, port: int, page: str, query: dict[str, str]) -> None:
        self.page, self.query = page, urlencode(query)
        self.fragments: set[str] = set()
        self.tables = self.components = 0
        self.texts: list[str] = []
        self.socket = _connect(stack, port)

    def run(self, *, fragments: bool = False, seconds: float = 600) -> None:
        """Run the script to its end; with ``fragments``, only those that asked for it, once there are any."""
        wanted: list[str] = sorted(self.fragments) if fragments and self.fragments else [""]
        if wanted == [""]:
            self.texts = []
        for fragment in wanted:
            message = BackMsg()
            message.rerun_script.query_string, message.rerun_script.page_name = self.query, self.page
            message.rerun_script.fragment_id = fragment
            message.rerun_script.is_auto_rerun = bool(fragment)
            self.socket.send(message.SerializeToString())
            self._finish(seconds, n_sessions=-1 if fragment else 0)

    def _finish(self, seconds: float, n_sessions: int) -> None:
        """Read messages until the script, and the runs that it asked for itself, have ended."""
        while True:
            frame = self.socket.recv(timeout=seconds)
            assert isinstance(frame, bytes)
            message = ForwardMsg()
            message.ParseFromString(frame)
            kind = message.WhichOneof("type")
            if kind == "new_session":
                n_sessions += 1
                if n_sessions > 0:  # the whole script, not a fragment: what was to be run again is told anew
                    self.fragments, self.texts = set(), []
            elif kind == "auto_rerun":
                self.fragments.add(message.auto_rerun.fragment_id)
            elif kind == "stop_auto_rerun":
                self.fragments.clear()
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                element = message.delta.new_element
                self.tables += element.WhichOneof("type") in ("dataframe", "arrow_data_frame", "table", "plotly_chart")
                # those that bring data: a player, a desk
                self.components += element.WhichOneof("type") == "bidi_component" and bool(element.bidi_component.bytes)
                self.texts += [t for t in (element.markdown.body, element.alert.body) if t]
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return


def _connect(stack: ExitStack, port: int) -> ClientConnection:
    connection = connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        origin=Origin(f"http://127.0.0.1:{port}"),
        subprotocols=[Subprotocol("streamlit")],
        max_size=None,
    )
    return stack.enter_context(connection)


@contextmanager
def serve(workspace: Path, **environment: str) -> Iterator[tuple[int, psutil.Process]]:
    """The app on a free port of this machine, ended when the block is left: its port and process.

    Parameters
    ----------
    workspace : path
        For what the app keeps.
    environment
        Further variables of the server.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless", "true"]
    server = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, "SAI_WORKSPACE": str(workspace), **environment},
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
        yield port, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(20)


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
    with tempfile.TemporaryDirectory() as cache, serve(Path(cache), SAI_CACHE_DIR=cache) as (port, process):
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


if __name__ == "__main__":
    main()
