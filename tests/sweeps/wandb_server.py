"""A small stand-in for a W&B server on the loopback address."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ENTITY = {"id": "e", "name": "someone"}
_PROJECT = {"id": "p", "name": "paribus", "entity": _ENTITY}


class WandbServer:
    """Keeps what it is sent.

    Attributes:
        trouble: Beginning of a path, or name of a GraphQL operation, to what happens there:
            a status to answer, or "hang".
        runs: Upserted variables by run id, merged.
        lines: History rows by run id and offset.
        summaries: The last summary by run id.
        exits: Exit codes by run id.
    """

    def __init__(self) -> None:
        self.trouble: dict[str, int | str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, dict[int, dict[str, Any]]] = {}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.exits: dict[str, int] = {}
        self.operations: list[str] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "WandbServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rows(self, run: str) -> list[dict[str, Any]]:
        """A run's history in order."""
        return [row for _, row in sorted(self.lines.get(run, {}).items())]

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        given = getattr(self, f"_{operation}", None)
        return given(variables) if given else {}

    def stream(self, run: str, body: dict[str, Any]) -> None:
        for name, part in body.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                self.lines.setdefault(run, {}).update(enumerate(lines, part["offset"]))
            elif name == "wandb-summary.json":
                self.summaries[run] = lines[-1]
        if body.get("complete"):
            self.exits[run] = body["exitcode"]

    def _Viewer(self, _: Any) -> dict[str, Any]:
        viewer = {"id": "u", "entity": "someone", "username": "someone", "email": "", "flags": "{}"}
        return {"viewer": viewer | {"teams": {"edges": []}}}

    def _ServerFeaturesQuery(self, _: Any) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["name"]
        new = name not in self.runs
        known = self.runs.setdefault(name, {})
        known |= {key: value for key, value in variables.items() if value is not None}
        bucket = {
            "id": f"id-{name}",
            "name": name,
            "displayName": known.get("displayName"),
            "config": known.get("config", "{}"),
            "sweepName": None,
            "historyLineCount": len(self.lines.get(name, {})),
            "project": _PROJECT,
        }
        return {"upsertBucket": {"inserted": new, "bucket": bucket}}

    def _RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["name"]
        model: dict[str, Any] = _PROJECT | {"bucket": None}
        if name in self.runs:
            rows = self.rows(name)
            model["bucket"] = {
                "id": f"id-{name}",
                "name": name,
                "displayName": self.runs[name].get("displayName"),
                "historyLineCount": len(rows),
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
                "eventsTail": "[]",
                "summaryMetrics": json.dumps(self.summaries.get(name, {})),
                "config": self.runs[name].get("config", "{}"),
                "tags": self.runs[name].get("tags", []),
                "notes": None,
                "wandbConfig": json.dumps({"t": 1}),
            }
        return {"model": model}

    def _CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/put"} for name in variables["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, _: Any) -> dict[str, Any]:
        return {"project": None}

    def _CreateArtifact(self, _: Any) -> dict[str, Any]:
        artifact = {"id": "a", "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, _: Any) -> dict[str, Any]:
        file = {"id": "f", "uploadUrl": f"{self.url}/put", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _CreateArtifactFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        edges = [
            {
                "node": {
                    "id": "f",
                    "name": file["name"],
                    "displayName": file["name"],
                    "storagePath": "s",
                    "uploadUrl": f"{self.url}/put",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": "a"},
                }
            }
            for file in variables["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, _: Any) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # clients that give up hang up


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self._body() or b"{}")
            named = re.match(r"\s*(?:query|mutation)\s+(\w+)", body.get("query", ""))
            operation = named.group(1) if named else ""
            if self._troubled(self.path, operation):
                return
            with server.lock:
                if self.path == "/graphql":
                    server.operations.append(operation)
                    answer = {"data": server.answer(operation, body.get("variables") or {})}
                else:
                    server.stream(self.path.split("/")[-2], body)
                    answer = {}
            self._send(200, answer)

        def do_PUT(self) -> None:
            self._body()
            if not self._troubled(self.path, ""):
                self._send(200, {})

        def do_GET(self) -> None:
            self._send(404, {})

        def _troubled(self, path: str, operation: str) -> bool:
            for where, what in server.trouble.items():
                if path.startswith(where) or operation == where:
                    if what == "hang":
                        time.sleep(60)
                    else:
                        self._send(int(what), {})
                    return True
            return False

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
