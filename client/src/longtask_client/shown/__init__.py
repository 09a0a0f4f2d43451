"""From resources to what is shown of them: by the API, and by the command with a kubeconfig alone.

Pure.
"""
