"""Who is told: one file, one kind of notifier."""
