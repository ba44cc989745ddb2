"""Which APIs there are and by which rules they answer, as the database said last."""
