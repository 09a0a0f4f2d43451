"""Receive callbacks of LongTask with Flask.

pip install longtask-client flask
WEBHOOK_KEY=whsec_… flask --app with_flask run --port 9000
"""

import os

from flask import Flask, request

from longtask_client import webhooks

app = Flask(__name__)
seen: set[str] = set()  # a real receiver keeps the ids in its database


@app.post("/hook")
def hook() -> tuple[str, int]:
    try:
        # The bytes: JSON that is written anew has other ones.
        event = webhooks.receive(request.get_data(), request.headers, key=os.environ["WEBHOOK_KEY"])
    except webhooks.NotGenuine as error:
        return str(error), 401
    if event.id not in seen:  # it may come more than once
        seen.add(event.id)
        if event.data is not None:
            print(event.data.id, event.data.phase, event.data.result)
    return "", 204
