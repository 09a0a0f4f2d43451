"""The door of that service: it takes an order, and answers 202 with an id when Redis has it."""

import uuid

import fastapi
import pydantic
import work

api = fastapi.FastAPI()


class Input(pydantic.BaseModel):
    n: int


class Callback(pydantic.BaseModel):
    url: str


class Order(pydantic.BaseModel):
    input: Input
    callback: Callback


@api.post("/api/v1/tasks", status_code=202)
def submit(order: Order) -> dict[str, str]:
    name = uuid.uuid4().hex
    work.work.apply_async((name, order.input.n, order.callback.url), task_id=name)
    return {"id": name}
