"""A git LFS server on this machine that can be told to misbehave."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from equimodal.datasets.base import FileFact


@dataclass
class Behaviour:
    """Contents by sha256, what goes wrong with which, and what was asked."""

    contents: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)  # sha256 -> answers left that break off half way
    busy: int = 0  # requests left that are answered 503
    refuse: str = ""  # batch answers 403 with this message
    ranges: bool = True
    beyond: bool = False  # a range that begins at or after the end is answered 416, as the standard says
    batches: list[int] = field(default_factory=list)
    gets: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, content: bytes) -> FileFact:
        """Serve `content`."""
        name = hashlib.sha256(content).hexdigest()
        self.contents[name] = content
        return FileFact(len(content), name)


@contextmanager
def serving() -> Iterator[Behaviour]:
    """Run a server; `behaviour.url` is the repository's address."""
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if behaviour.busy > 0:
                behaviour.busy -= 1
                return self.answer(503, b"later")
            if behaviour.refuse:
                return self.answer(403, json.dumps({"message": behaviour.refuse}).encode())
            assert self.path == "/repo.git/info/lfs/objects/batch" and asked["operation"] == "download"
            behaviour.batches.append(len(asked["objects"]))
            objects = []
            for item in asked["objects"]:
                name = item["oid"]
                there = name in behaviour.contents
                action = {
                    "actions": {"download": {"href": f"{behaviour.url}/objects/{name}", "header": {"X-Token": "t"}}}
                }
                objects.append(
                    {**item, **(action if there else {"error": {"code": 404, "message": "Object does not exist"}})}
                )
            objects.append({"oid": "../../escape", "actions": {"download": {"href": f"{behaviour.url}/objects/evil"}}})
            return self.answer(200, json.dumps({"objects": objects}).encode())

        def do_GET(self) -> None:
            name, wanted = self.path.rsplit("/", 1)[1], self.headers.get("Range")
            behaviour.gets.append((name, wanted))
            if name not in behaviour.contents:
                self.answer(404, b"no such file")
                return
            content = behaviour.contents[name]
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and behaviour.ranges else 0
            if behaviour.beyond and start >= len(content):
                self.answer(416, b"")
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.cut.get(name, 0) > 0:
                behaviour.cut[name] -= 1
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}/repo"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield behaviour
    finally:
        server.shutdown()
        server.server_close()
