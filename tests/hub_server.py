"""A local server that answers what huggingface_hub asks of the Hugging Face Hub: reading and committing to model
repositories, each with one branch, ``main``."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"


class HubServer(ThreadingHTTPServer):
    """Attributes:
    repos: name -> path -> content, of every repository.
    private: names of those that were created as private.
    gated: names of those whose files nobody may read.
    uploaded: content of large files by its SHA-256, before a commit names it.
    failing: answer every question about a repository with 500.
    requests: method and path of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.uploaded: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.failing = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, repo: str) -> str:
        content = sorted((path, hashlib.sha1(data).hexdigest()) for path, data in self.repos[repo].items())
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()


@contextlib.contextmanager
def serving() -> Iterator[HubServer]:
    with HubServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._begin()
        match self.parts:
            case ["api", "models", org, name]:
                self._info(f"{org}/{name}", "main")
            case ["api", "models", org, name, "revision", revision]:
                self._info(f"{org}/{name}", revision)
            case [org, name, "resolve", revision, *path]:
                self._file(f"{org}/{name}", revision, "/".join(path))
            case _:
                self._fail(404, "")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._begin()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and self.parts[-1] != "validate-yaml":
            return self._fail(401, "", "Invalid username or password.")
        match self.parts:
            case ["api", "repos", "create"]:
                wanted = json.loads(body)
                repo = f"{wanted['organization']}/{wanted['name']}"
                if wanted["organization"] == "others":
                    return self._fail(403, "", "You don't have the rights to create a model there")
                if repo in self.server.repos:
                    return self._json({"error": "exists", "url": f"{self.server.address}/{repo}"}, 409)
                self.server.repos[repo] = {}
                if "private" in (wanted.get("visibility"), "private" if wanted.get("private") else None):
                    self.server.private.add(repo)
                return self._json({"url": f"{self.server.address}/{repo}", "name": repo})
            case ["api", "validate-yaml"]:
                return self._json({"errors": [], "warnings": []})
            case ["api", "models", org, name, "preupload", "main"]:
                asked = json.loads(body)["files"]
                modes = {True: "lfs", False: "regular"}
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": modes[file["path"].endswith((".safetensors", ".pth"))],
                        "shouldIgnore": False,
                    }
                    for file in asked
                ]
                return self._json({"files": files})
            case [_, _, "info", "lfs", "objects", "batch"]:
                objects = [
                    {**wanted, "actions": {"upload": {"href": f"{self.server.address}/lfs/{wanted['oid']}"}}}
                    for wanted in json.loads(body)["objects"]
                ]
                return self._json({"transfer": "basic", "objects": objects})
            case ["api", "models", org, name, "commit", "main"]:
                files = self.server.repos[f"{org}/{name}"]
                for line in map(json.loads, body.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        files[value["path"]] = self.server.uploaded[value["oid"]]
                commit = self.server.commit_of(f"{org}/{name}")
                url = f"{self.server.address}/{org}/{name}/commit/{commit}"
                return self._json({"commitUrl": url, "commitOid": commit, "success": True})
        return self._fail(404, "")

    def do_PUT(self) -> None:
        self._begin()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(body).hexdigest() == self.parts[1]
        self.server.uploaded[self.parts[1]] = body
        self._send(b"")

    def _begin(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append((self.command, path))
        self.parts = [unquote(part) for part in path.strip("/").split("/")]

    def _readable(self, repo: str, revision: str) -> bool:
        if self.server.failing:
            self._fail(500, "", "Internal Error")
        elif repo in self.server.gated and "resolve" in self.parts:  # anybody may see what there is
            self._fail(403, "GatedRepo", "Access to this model is restricted")
        elif repo not in self.server.repos:
            self._fail(401, "RepoNotFound", "Repository not found")
        elif revision not in ("main", self.server.commit_of(repo)):
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return True
        return False

    def _info(self, repo: str, revision: str) -> None:
        if self._readable(repo, revision):
            files = [{"rfilename": path} for path in sorted(self.server.repos[repo])]
            self._json({"id": repo, "sha": self.server.commit_of(repo), "siblings": files})

    def _file(self, repo: str, revision: str, path: str) -> None:
        if not self._readable(repo, revision):
            return
        content = self.server.repos[repo].get(path)
        commit = {"X-Repo-Commit": self.server.commit_of(repo)}
        if content is None:
            self._fail(404, "EntryNotFound", "Entry not found", commit)
        else:
            self._send(content, headers={"ETag": f'"{hashlib.sha256(content).hexdigest()}"', **commit})

    def _json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(b"", status, {**(headers or {}), **{k: v for k, v in named.items() if v}})

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
