// Hand a task over and wait for its end. The types come from the API's own description.
import createClient from "openapi-fetch";

import type { components, paths } from "./longtask.d.ts";

type Task = components["schemas"]["TaskView"];

export async function runToItsEnd(url: string, token: string, n: number): Promise<Task> {
  const client = createClient<paths>({
    baseUrl: url,
    headers: { Authorization: `Bearer ${token}` },
  });
  const made = await client.POST("/api/v1/tasks", {
    // The same key again is the same task: a broken connection may be tried again.
    params: { header: { "idempotency-key": crypto.randomUUID() } },
    body: { type: "fibonacci", input: { n } },
  });
  if (made.error) {
    throw new Error(made.error.detail ?? made.error.title);
  }
  let task: Task = made.data;
  while (!["Succeeded", "Failed", "Cancelled"].includes(task.phase)) {
    // The API answers when the task is finished, or after thirty seconds.
    const seen = await client.GET("/api/v1/tasks/{task_id}", {
      params: { path: { task_id: task.id }, header: { prefer: "wait=30" } },
    });
    if (seen.error) {
      throw new Error(seen.error.detail ?? seen.error.title);
    }
    task = seen.data;
  }
  return task;
}
