"""The main job, as a user does it: hand a task over, watch it, get the signed callback.

Needs what `. .localcluster/env` exports; `make demo` sees to that.
"""

import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time

import standardwebhooks

CALLBACK_WITHIN_SECONDS = 30

Delivery = tuple[dict[str, str], str]


def main() -> int:
    """Run the demo; return 0 if the callback came and its signature is genuine."""
    deliveries: queue.Queue[Delivery] = queue.Queue()
    address = os.environ["LONGTASK_HOST_ADDRESS"]
    server = receiver(address, deliveries)
    callback_url = f"http://{address}:{server.server_address[1]}/done"

    say("Hand two tasks over, with a callback to this machine, and watch the first one")
    label = f"demo={int(time.time())}"
    common = ("--callback", callback_url, "--label", label)
    second = run("longtask", "submit", "fibonacci", "n=100", *common, "-o", "json", quiet=True)
    run("longtask", "submit", "sleep", "seconds=6", *common, "--wait")

    say("The same tasks, seen from Kubernetes")
    run("kubectl", "get", "longtasks", "-l", label)

    say("The callbacks that came to this machine")
    key = run("longtask", "callback-key", quiet=True).strip()
    for _ in range(2):
        try:
            headers, body = deliveries.get(timeout=CALLBACK_WITHIN_SECONDS)
        except queue.Empty:
            print(f"no callback within {CALLBACK_WITHIN_SECONDS} s", file=sys.stderr)
            return 1
        # Raises if the body or the time was tampered with, or another key signed it.
        verified = standardwebhooks.Webhook(key).verify(body, headers)
        print(json.dumps(verified, indent=2))
        print(f"  webhook-id         {headers['webhook-id']}")
        print(f"  webhook-signature  {headers['webhook-signature']}  <- verified\n")

    say("What to try next")
    task = json.loads(second)["id"]
    print(
        f"""  . .localcluster/env                          # kubectl, helm and longtask on your PATH
  longtask result {task}
  longtask submit prime-numbers n=2000 --wait
  longtask submit --image localhost/longtask-base:dev --wait -- sh -c 'echo hello; sleep 3'
  longtask list
  kubectl explain longtask.spec
  kubectl get longtasks --watch
  make status                                  # what runs;  make down takes it all away"""
    )
    return 0


def receiver(address: str, deliveries: queue.Queue[Delivery]) -> http.server.ThreadingHTTPServer:
    """Start an HTTP server that keeps what it gets."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            deliveries.put(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the terminal belongs to the demo."""

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(*words: str, quiet: bool = False) -> str:
    """Show a command and run it in this terminal, or quietly for its output."""
    print(f"$ {' '.join(words)}", flush=True)
    done = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE if quiet else None)
    return done.stdout or ""


def say(title: str) -> None:
    """Print a headline."""
    print(f"\n== {title}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
