"""Tasks, as callers know them: their orders are taken, they are shown, and they are changed."""
