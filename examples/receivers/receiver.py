"""Receive callbacks of LongTask and verify them (Standard Webhooks): standard library only.

WEBHOOK_KEY=whsec_... python receiver.py [port]
"""

import base64
import email.message
import hashlib
import hmac
import http.server
import json
import os
import sys
import time

TOLERANCE_SECONDS = 5 * 60
BODY_LIMIT = 1024 * 1024


def is_genuine(headers: email.message.Message, body: bytes, *, key: str, now: float) -> bool:
    """Tell whether the body was signed with the key, less than five minutes ago."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit()) or abs(now - int(stamp)) > TOLERANCE_SECONDS:
        return False
    secret = base64.b64decode(key.removeprefix("whsec_"))
    signed = hmac.digest(secret, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(signed)
    given = headers.get("webhook-signature", "").encode().split()  # two while a key is rotated
    return any([hmac.compare_digest(expected, signature) for signature in given])


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers 204 to a genuine callback, 401 to any other."""

    seen: set[str] = set()  # noqa: RUF012 - a real receiver keeps the ids in its database

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, BODY_LIMIT))
        genuine = is_genuine(self.headers, body, key=os.environ["WEBHOOK_KEY"], now=time.time())
        if genuine and self.headers["webhook-id"] not in self.seen:
            self.seen.add(self.headers["webhook-id"])  # it may come more than once
            print(json.dumps(json.loads(body), indent=2), flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    http.server.ThreadingHTTPServer(("", port), Receiver).serve_forever()
