"""One small file a log format; `registry` chooses by content. Knows nothing of the database."""
