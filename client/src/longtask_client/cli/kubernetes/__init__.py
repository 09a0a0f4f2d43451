"""The command without an API: what it asks is answered from Kubernetes, by a kubeconfig alone.

`Cluster` is a client whose requests go no further than this package, so that each command that
looks at tasks and schedules, hands them over, follows or cancels them is the same one. What only
the API knows (places in queues, the archive, results that are large, accounts) is refused in words,
or said to be missing. No other part of the client imports the adapters: the extra
`longtask-client[kubernetes]`.

`cluster`: the client. `desk`: who answers which question. `tasks`, `schedules`: the answers.
`streams`: what a watch brings, as the API's streams tell it. `answers`: their form.
"""

from longtask_client.cli.kubernetes.cluster import Cluster

__all__ = ["Cluster"]
