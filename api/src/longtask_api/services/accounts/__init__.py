"""Users of LongTask's own: what each does with their account, and what admins do with all."""
