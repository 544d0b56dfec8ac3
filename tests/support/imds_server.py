"""An instance metadata service: version 2 alone, with tokens that run out."""

import http.server
import threading


class Instance:
    """What the service says, and what it was asked.

    Attributes:
        texts: path to text; other paths are 404.
        tokens: those that are valid now.
    """

    def __init__(self):
        self.texts, self.tokens, self.asked, self.num_tokens = {}, set(), [], 0


def start_instance(address=("127.0.0.1", 0)):
    """A running service: (what it says, its URL, a function that ends it)."""
    instance = Instance()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            assert self.path == "/latest/api/token" and int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
            instance.num_tokens += 1
            token = f"token-{instance.num_tokens}"
            instance.tokens.add(token)
            self.answer(200, token)

        def do_GET(self):
            instance.asked.append(self.path)
            if self.headers.get("X-aws-ec2-metadata-token") not in instance.tokens:
                self.answer(401, "Unauthorized")
            elif self.path in instance.texts:
                self.answer(200, instance.texts[self.path])
            else:
                self.answer(404, "Not Found")

        def answer(self, code, text):
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(address, Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop():
        server.shutdown()
        server.server_close()

    return instance, f"http://{address[0]}:{server.server_address[1]}", stop
