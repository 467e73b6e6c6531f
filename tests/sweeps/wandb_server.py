"""A small stand-in for a W&B server on the loopback address."""

import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

_ENTITY = {"id": "e", "name": "someone"}
_PROJECT = {"id": "p", "name": "paribus", "entity": _ENTITY}


@dataclass
class Artifact:
    """One version of an artifact: what it is called, whose it is, and its files once uploaded."""

    name: str
    type: str
    run: str
    digest: str
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False


class WandbServer:
    """Keeps what it is sent.

    Attributes:
        trouble: Beginning of a path, or name of a GraphQL operation, to what happens there:
            a status to answer, "hang", or "drop" for a connection that ends without an answer.
        dies_after: How many requests are answered before all connections drop; None: all are.
        runs: Upserted variables by run id, merged.
        lines: History rows by run id and offset.
        summaries: The last summary by run id.
        files: Uploaded files by run id and name.
        artifacts: Versions of artifacts, in the order in which they came.
        exits: Exit codes by run id.
        projects: Where runs were asked for, in order.
    """

    def __init__(self) -> None:
        self.trouble: dict[str, int | str] = {}
        self.dies_after: int | None = None
        self.runs: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, dict[int, dict[str, Any]]] = {}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.artifacts: list[Artifact] = []
        self.exits: dict[str, int] = {}
        self.operations: list[str] = []
        self.projects: list[str] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "WandbServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
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

    _GetDefaultEntity = _Viewer

    def _Runs(self, _: Any) -> dict[str, Any]:
        """What `wandb.Api().runs` asks for, of the runs that were uploaded."""
        edges = []
        for name, run in self.runs.items():
            state = {None: "running", 0: "finished"}.get(self.exits.get(name), "failed")
            node = dict.fromkeys(("sweepName", "group", "jobType", "commit", "heartbeatAt", "notes",
                                  "description", "historyKeys"))  # fmt: skip
            node |= {"id": name, "name": name, "displayName": name, "tags": [], "state": state,
                     "readOnly": False, "createdAt": "2025-01-01T00:00:00", "user": _ENTITY,
                     "config": run.get("config", "{}"), "systemMetrics": "{}",
                     "summaryMetrics": json.dumps(self.summaries.get(name, {})),
                     "historyLineCount": 0, "projectId": "1"}  # fmt: skip
            edges.append({"node": node, "cursor": name})
        found = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
        return {"project": {"internalId": "1", "runCount": len(edges), "readOnly": False,
                            "runs": found}}  # fmt: skip

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
        self.projects.append(variables["project"])
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
        at = f"{self.url}/put/file/{variables['run']}"
        files = [
            {"name": name, "uploadUrl": f"{at}/{quote(name, safe='')}"}
            for name in variables["files"]
        ]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, _: Any) -> dict[str, Any]:
        return {"project": None}

    def _CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        given = variables["input"]
        name, digest = given["artifactCollectionName"], given["digest"]
        there = [a for a in self.artifacts if a.committed and (a.name, a.digest) == (name, digest)]
        found = there[0] if there else None
        if found is None:
            found = Artifact(name, given["artifactTypeName"], given["runName"], digest)
            self.artifacts.append(found)
        artifact = {
            "id": str(self.artifacts.index(found)),
            "state": "COMMITTED" if found.committed else "PENDING",
            "artifactSequence": {"latestArtifact": None},
        }
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/put/manifest/{variables['artifactID']}/manifest"
        file = {"id": "f", "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _CreateArtifactFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        edges = [
            {
                "node": {
                    "id": "f",
                    "name": file["name"],
                    "displayName": file["name"],
                    "storagePath": "s",
                    "uploadUrl": f"{self.url}/put/artifact/{file['artifactID']}/"
                    + quote(file["name"], safe=""),
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": file["artifactID"]},
                }
            }
            for file in variables["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts[int(variables["artifactID"])]
        artifact.committed = True
        return {"commitArtifact": {"artifact": {"id": "a", "digest": artifact.digest}}}

    def keep(self, path: str, content: bytes) -> None:
        """Takes a file that is uploaded."""
        _, _, kind, owner, name = path.split("/")
        if kind == "file":
            self.files.setdefault(owner, {})[unquote(name)] = content
        elif kind == "artifact":
            self.artifacts[int(owner)].files[unquote(name)] = content


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # clients that give up hang up


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self._body() or b"{}")
            named = re.match(r"(?:#graphql)?\s*(?:query|mutation)\s+(\w+)", body.get("query", ""))
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
            content = self._body()
            if not self._troubled(self.path, ""):
                with server.lock:
                    server.keep(self.path, content)
                self._send(200, {})

        def do_GET(self) -> None:
            self._send(404, {})

        def _troubled(self, path: str, operation: str) -> bool:
            with server.lock:
                dead = server.dies_after == 0
                if server.dies_after:
                    server.dies_after -= 1
            if dead:
                self.close_connection = True
                return True
            for where, what in server.trouble.items():
                if path.startswith(where) or operation == where:
                    if what == "hang":
                        time.sleep(60)
                    elif what == "drop":
                        self.close_connection = True
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
