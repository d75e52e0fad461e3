#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server for fetch.bats: http_server.py DIRECTORY LOG [CERTIFICATE-AND-KEY]

Listens on a free port of 127.0.0.1 and prints it. Each request is a line of LOG: path and status, and, where the
environment has AUTHORIZATION, the kind of authorization that came with it. That is then what files are given for.

  /NAME      the file, with an entity tag
  /to/URL    redirects there
  /loop      redirects to itself
  /huge      promises 100 TiB
  /cut       promises more than it sends
"""
import hashlib
import http.server
import os
import ssl
import sys
import urllib.parse

AUTHORIZATION = os.environ.get("AUTHORIZATION")


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, headers, body=b""):
        kind = ""
        if AUTHORIZATION:
            kind = " " + self.headers.get("Authorization", "-").split()[0]
        with open(sys.argv[2], "a") as log:
            log.write(f"{self.path} {status}{kind}\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/to/"):
            target = urllib.parse.unquote(self.path[len("/to/"):])
            return self.answer(302, {"Location": target, "Content-Length": "0"})
        if AUTHORIZATION and self.headers.get("Authorization") != AUTHORIZATION:
            return self.answer(401, {"Content-Length": "0"})
        if self.path == "/loop":
            return self.answer(302, {"Location": "/loop", "Content-Length": "0"})
        if self.path == "/huge":
            return self.answer(200, {"Content-Length": str(100 << 40)})
        if self.path == "/cut":
            return self.answer(200, {"Content-Length": "100000"}, b"too little")
        name = os.path.basename(urllib.parse.urlsplit(self.path).path)
        try:
            with open(os.path.join(sys.argv[1], name), "rb") as file:
                body = file.read()
        except OSError:
            return self.answer(404, {"Content-Length": "0"})
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if self.headers.get("If-None-Match") == tag:
            return self.answer(304, {"ETag": tag})
        return self.answer(200, {"ETag": tag, "Content-Length": str(len(body))}, body)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
