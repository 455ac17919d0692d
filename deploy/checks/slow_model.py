"""A model behind OpenAI's interface that says a word every so often, to see whether somebody on the way holds words back.

    slow_model.py PORT
"""

import http.server
import json
import sys
import time

WORDS = ["酸素流量は", "安静時", "1L/分", "、労作時", "2L/分", "のままです", "。", "[1]"]
PAUSE = 0.25


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in WORDS:
            self.say({"choices": [{"index": 0, "delta": {"content": word}}]})
            time.sleep(PAUSE)
        self.say({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.say({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18}})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def say(self, event):
        self.wfile.write(f"data: {json.dumps({'id': '1', 'object': 'chat.completion.chunk', **event})}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
