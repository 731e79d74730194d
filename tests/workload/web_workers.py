# SPDX-License-Identifier: BSD-2-Clause
"""A web server with forked workers on the loopback interface: web_workers.py WORKERS. Each answers until it is told to /stop."""
import http.server
import json
import os
import socket
import sys
import zlib


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        size = int(self.path.rpartition("/")[2] or 0) if self.path.startswith("/blob/") else 10
        text = json.dumps({"pid": os.getpid(), "path": self.path, "words": ["word %d" % i for i in range(size)]}).encode()
        body = zlib.compress(text * 20)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.stopped = self.path == "/stop"

    def log_message(self, *_):
        pass


def work(listener):
    """Accepts beside the other workers; the kernel gives each connection to one of them."""
    server = http.server.HTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.stopped = False
    while not server.stopped:
        server.handle_request()


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    for _ in range(int(sys.argv[1])):
        if os.fork() == 0:
            work(listener)
            sys.exit(0)
    print(json.dumps({"pid": os.getpid(), "port": listener.getsockname()[1]}), flush=True)
    codes = [os.wait()[1] for _ in range(int(sys.argv[1]))]
    print(json.dumps({"codes": codes}), flush=True)


if __name__ == "__main__":
    main()
